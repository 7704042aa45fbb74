//! The GPU: opened once, its buffers and their limits, and what becomes of it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures_channel::oneshot;
use wgpu::{BufferUsages, ErrorFilter, ErrorScopeGuard};

use crate::error::Error;

/// An open GPU.
#[derive(Clone, Debug)]
pub struct Gpu {
    instance: wgpu::Instance,
    pub(crate) adapter: wgpu::Adapter,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    state: Arc<State>,
}

/// What the GPU reports on its own accord.
#[derive(Debug, Default)]
struct State {
    /// Why it is gone for good.
    lost: Mutex<Option<String>>,
    /// An error that no scope caught.
    fault: Mutex<Option<String>>,
    /// The first buffer that is larger than it allows.
    too_large: Mutex<Option<String>>,
    /// Who waits for its loss.
    waiting: Mutex<Vec<Waker>>,
    /// What was submitted.
    #[cfg(test)]
    submits: std::sync::atomic::AtomicUsize,
}

impl Gpu {
    /// Opens the fastest adapter, with buffers as large as it allows.
    ///
    /// # Errors
    /// When there is no adapter, or it does not give a device.
    pub fn open() -> impl Future<Output = Result<Self, Error>> {
        Self::of(wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle()))
    }

    /// A device of WebGPU's least limits that has every feature, refuses what is no valid use of it and computes
    /// nothing: for counts and tests.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(feature = "train")]
    pub async fn without_hardware() -> Result<Self, Error> {
        let limits = wgpu::Limits::default();
        let noop = wgpu::NoopBackendOptions { limits: Some(limits), ..wgpu::NoopBackendOptions::enabled() };
        Self::of(wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions { noop, ..Default::default() },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        }))
        .await
    }

    async fn of(instance: wgpu::Instance) -> Result<Self, Error> {
        let wrong = |e: &dyn std::fmt::Display| Error::Device(format!("WebGPU: {e}"));
        let power_preference = wgpu::PowerPreference::HighPerformance;
        let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
        let adapter = instance.request_adapter(&options).await.map_err(|e| wrong(&e))?;
        let most = adapter.limits();
        let required_limits = wgpu::Limits {
            max_buffer_size: most.max_buffer_size,
            max_storage_buffer_binding_size: most.max_storage_buffer_binding_size,
            ..Default::default()
        };
        let required_features = adapter.features() & wgpu::Features::SHADER_F16;
        let label = Some("meanflow");
        let wanted = wgpu::DeviceDescriptor { label, required_features, required_limits, ..Default::default() };
        let (device, queue) = adapter.request_device(&wanted).await.map_err(|e| wrong(&e))?;
        let state = Arc::new(State::default());
        let lost = state.clone();
        device.set_device_lost_callback(move |reason, message| lost.lose(format!("{reason:?}: {message}")));
        let fault = state.clone();
        device.on_uncaptured_error(Arc::new(move |e| {
            locked(&fault.fault).get_or_insert_with(|| e.to_string());
        }));
        Ok(Self { instance, adapter, device, queue, state })
    }

    /// The adapter and how it is reached, for people.
    pub fn name(&self) -> String {
        let info = self.adapter.get_info();
        format!("{} ({})", info.name, info.backend)
    }

    /// What shows pictures without reading them back: of a window natively, of a canvas in browsers.
    ///
    /// # Errors
    /// When there can be none on it.
    pub fn surface<'window>(
        &self,
        target: wgpu::SurfaceTarget<'window>,
    ) -> Result<wgpu::Surface<'window>, wgpu::CreateSurfaceError> {
        self.instance.create_surface(target)
    }

    /// Whether it has half-precision arithmetic.
    pub fn has_half(&self) -> bool {
        self.adapter.features().contains(wgpu::Features::SHADER_F16)
    }

    /// Whether it still computes.
    ///
    /// # Errors
    /// Says why not; once lost, only a new one helps.
    pub fn check(&self) -> Result<(), Error> {
        let lost = locked(&self.state.lost).as_ref().map(|reason| format!("the GPU was lost ({reason})"));
        match lost.or_else(|| locked(&self.state.fault).take()) {
            Some(reason) => Err(Error::Device(reason)),
            None => Ok(()),
        }
    }

    /// Waits until the GPU is lost, and says why.
    pub async fn lost(&self) -> String {
        poll_fn(|context| match locked(&self.state.lost).clone() {
            Some(reason) => Poll::Ready(reason),
            None => {
                locked(&self.state.waiting).push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Runs `make`, which makes pipelines, buffers and the like, and waits until the GPU has accepted them all.
    ///
    /// # Errors
    /// What the GPU refused and why, a buffer that is larger than it allows, or the error of `make`.
    pub(crate) async fn accepted<T>(&self, make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        // Drivers that do not compile a shader make internal errors.
        let scopes = [ErrorFilter::OutOfMemory, ErrorFilter::Internal, ErrorFilter::Validation]
            .map(|of| self.device.push_error_scope(of));
        let made = make();
        let too_large = locked(&self.state.too_large).take();
        self.verdict(scopes).await?;
        match too_large {
            Some(reason) => Err(Error::Device(reason)),
            None => made,
        }
    }

    /// What the GPU says of everything since these scopes began.
    async fn verdict(&self, [memory, internal, validation]: [ErrorScopeGuard; 3]) -> Result<(), Error> {
        // In the reverse of their order, before anything is awaited.
        let (validation, internal, memory) = (validation.pop(), internal.pop(), memory.pop());
        let refused: [Pin<Box<dyn Future<Output = _>>>; 3] =
            [Box::pin(validation), Box::pin(internal), Box::pin(memory)];
        for refused in refused {
            if let Some(error) = refused.await {
                return Err(Error::Device(error.to_string()));
            }
        }
        self.check()
    }

    /// Most bytes of one buffer that a kernel may use.
    pub(super) fn most_bytes(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)
    }

    /// A buffer of `bytes`, up to a multiple of 4; for [`Self::accepted`], which refuses one that is larger than the
    /// GPU allows.
    #[inline(never)]
    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
        let most = self.most_bytes();
        let mut size = bytes.next_multiple_of(4).max(16);
        if bytes > most {
            locked(&self.state.too_large).get_or_insert_with(|| {
                format!("{label} take {} MB, but the GPU allows {} MB in one buffer", bytes >> 20, most >> 20)
            });
            size = 16;
        }
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage: usage | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A buffer for kernels with these contents; as [`Self::buffer`].
    #[inline(never)]
    pub(super) fn upload(&self, label: &str, contents: &[u8]) -> wgpu::Buffer {
        let buffer = self.buffer(label, contents.len() as u64, BufferUsages::STORAGE);
        if contents.len() as u64 <= buffer.size() {
            self.queue.write_buffer(&buffer, 0, contents);
        }
        buffer
    }

    /// Binds buffers to a pipeline's layout.
    pub(crate) fn bind(&self, layout: &wgpu::BindGroupLayout, buffers: &[(u32, &wgpu::Buffer)]) -> wgpu::BindGroup {
        let entries: Vec<_> = buffers
            .iter()
            .map(|&(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }

    /// Has the GPU do what was recorded.
    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) {
        #[cfg(test)]
        self.state.submits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.queue.submit([encoder.finish()]);
    }

    /// Waits until the GPU has done what was submitted.
    ///
    /// # Errors
    /// When the GPU was lost or refused some earlier command.
    pub(crate) async fn finished(&self) -> Result<(), Error> {
        let (tell, done) = oneshot::channel();
        self.queue.on_submitted_work_done(move || tell.send(()).unwrap_or_default());
        // Natively nothing else hears of it; browsers do so by themselves.
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| Error::Device(e.to_string()))?;
        // A GPU that was lost tells nothing; the check says so.
        done.await.unwrap_or_default();
        self.check()
    }

    /// The first `bytes` of a buffer made for reading.
    ///
    /// # Errors
    /// When the GPU was lost or refused some earlier command.
    pub(super) async fn read(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>, Error> {
        let (tell, heard) = oneshot::channel();
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |mapped| drop(tell.send(mapped)));
        // Natively nothing else hears of it; browsers do so by themselves.
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| Error::Device(e.to_string()))?;
        let mapped = heard.await;
        let unreadable = |e: &dyn std::fmt::Display| Error::Device(format!("the pictures cannot be read: {e}"));
        // What was mapped is unmapped also after an error: the buffer is used again.
        let contents = mapped.map_err(|e| unreadable(&e)).and_then(|mapped| {
            mapped.map_err(|e| unreadable(&e))?;
            let contents = buffer.get_mapped_range(..bytes).map_err(|e| unreadable(&e))?.to_vec();
            buffer.unmap();
            Ok(contents)
        });
        self.check()?;
        contents
    }
}

/// For tests.
#[cfg(test)]
impl Gpu {
    /// What was submitted so far.
    pub(super) fn submits(&self) -> usize {
        self.state.submits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Has the next check fail.
    pub(super) fn fail(&self, reason: &str) {
        *locked(&self.state.fault) = Some(reason.into());
    }

    /// With a device that has no more than WebGPU's least features.
    pub(super) async fn with_plain_device(self) -> Result<Self, wgpu::RequestDeviceError> {
        let (device, queue) = self.adapter.request_device(&wgpu::DeviceDescriptor::default()).await?;
        Ok(Self { device, queue, ..self })
    }
}

impl State {
    fn lose(&self, reason: String) {
        *locked(&self.lost) = Some(reason);
        locked(&self.waiting).drain(..).for_each(Waker::wake);
    }
}

/// Nothing here can panic halfway, so a poisoned lock holds whole values.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
