//! A picture from the GPU to a canvas, without a way through the CPU's memory.

use web_sys::{ImageBitmap, OffscreenCanvas};

use crate::error::Error;
use crate::infer::webgpu::Gpu;
use crate::infer::webgpu::wgsl::wgsl;

/// Draws RGBA pixels over the whole canvas.
const SHADER: &str = wgsl!(file "screen.wgsl");

/// A canvas of a model's size that nobody sees; what is drawn on it is handed out as a bitmap.
#[derive(Debug)]
pub(super) struct Screen {
    canvas: OffscreenCanvas,
    surface: wgpu::Surface<'static>,
    pipeline: wgpu::RenderPipeline,
}

fn wrong(what: impl std::fmt::Debug) -> Error {
    Error::Device(format!("no canvas for WebGPU: {what:?}"))
}

impl Screen {
    /// # Errors
    /// When the browser has no such canvas.
    pub async fn new(gpu: &Gpu, size: u32) -> Result<Self, Error> {
        let canvas = OffscreenCanvas::new(size, size).map_err(wrong)?;
        let target = wgpu::SurfaceTarget::OffscreenCanvas(canvas.clone());
        let surface = gpu.surface(target).map_err(wrong)?;
        let config = surface.get_default_config(&gpu.adapter, size, size).ok_or_else(|| wrong("no format"))?;
        let config = wgpu::SurfaceConfiguration { alpha_mode: wgpu::CompositeAlphaMode::PreMultiplied, ..config };
        let pipeline = gpu.accepted(|| Ok(pipeline(&gpu.device, size, config.format))).await?;
        surface.configure(&gpu.device, &config);
        Ok(Self { canvas, surface, pipeline })
    }

    /// The picture whose bytes a buffer holds, once it is drawn.
    ///
    /// # Errors
    /// When the GPU was lost, or gives no frame to draw on.
    pub async fn show(&self, gpu: &Gpu, rgba: &wgpu::Buffer) -> Result<ImageBitmap, Error> {
        use wgpu::CurrentSurfaceTexture::{Suboptimal, Success};
        let (Success(frame) | Suboptimal(frame)) = self.surface.get_current_texture() else {
            return Err(wrong("no frame"));
        };
        let group = gpu.bind(&self.pipeline.get_bind_group_layout(0), &[(0, rgba)]);
        let view = frame.texture.create_view(&Default::default());
        let attachment = wgpu::RenderPassColorAttachment {
            view: &view,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::TRANSPARENT), store: wgpu::StoreOp::Store },
        };
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        {
            let attachments = [Some(attachment)];
            let descriptor = wgpu::RenderPassDescriptor { color_attachments: &attachments, ..Default::default() };
            let mut pass = encoder.begin_render_pass(&descriptor);
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.draw(0..3, 0..1);
        }
        gpu.submit(encoder);
        // In the same turn: the canvas is empty in the next.
        let bitmap = self.canvas.transfer_to_image_bitmap().map_err(wrong)?;
        gpu.finished().await.map(|()| bitmap)
    }
}

fn pipeline(device: &wgpu::Device, size: u32, format: wgpu::TextureFormat) -> wgpu::RenderPipeline {
    let source = format!("const EDGE = {size}u;\n{SHADER}");
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("screen"),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("screen"),
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            buffers: &[],
        },
        primitive: Default::default(),
        depth_stencil: None,
        multisample: Default::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            targets: &[Some(format.into())],
        }),
        multiview_mask: None,
        cache: None,
    })
}
