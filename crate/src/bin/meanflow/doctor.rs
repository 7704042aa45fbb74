//! `meanflow doctor`: what this machine has, what of it is used, and what to do about what is missing.

use std::path::Path;

use anyhow::{Context, Result};
use meanflow::{device, io};
use serde::Serialize;
use sysinfo::{DiskRefreshKind, Disks, System};

/// Print what this machine has, what of it is used, and what to do about what is missing.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON, whose keys docs/guide/program.md describes
    #[arg(long)]
    json: bool,
}

/// The version of the JSON: it grows with a key that is taken away or means something else, and not with a new one.
const FORMAT_VERSION: u32 = 1;
/// Bytes of memory that training a model of the size of the shipped ones takes.
const ENOUGH_MEMORY: u64 = 2_000_000_000;
/// Bytes on the disk that a run with its checkpoints takes.
const ENOUGH_DISK: u64 = 1_000_000_000;

/// All that is found; the keys are those of the JSON.
#[derive(Serialize)]
struct Report {
    format_version: u32,
    program: Program,
    system: Machine,
    cpu: Cpu,
    memory: Memory,
    disk: Disk,
    devices: Vec<DeviceKind>,
    adapters: Vec<Adapter>,
    used: Used,
    advice: Vec<String>,
}

/// How the program was built.
#[derive(Serialize)]
struct Program {
    version: &'static str,
    optimized: bool,
    /// Whether it carries the page, for `serve` and `export --web` without the folder that `make build` leaves.
    page: bool,
}

#[derive(Serialize)]
struct Machine {
    name: Option<String>,
    kernel: Option<String>,
    arch: &'static str,
}

#[derive(Serialize)]
struct Cpu {
    name: Option<String>,
    /// Cores that run at once, hyperthreads among them.
    cores: usize,
    features: Vec<&'static str>,
}

/// In bytes.
#[derive(Serialize)]
struct Memory {
    total: u64,
    /// What the machine, or the container, has free.
    free: u64,
}

#[derive(Serialize)]
struct Disk {
    folder: String,
    /// In bytes; none where the system does not say.
    free: Option<u64>,
}

/// A kind of device that training and sampling can run on.
#[derive(Serialize)]
struct DeviceKind {
    name: &'static str,
    compiled: bool,
}

/// A GPU, or a driver that computes on the CPU.
#[derive(Serialize)]
struct Adapter {
    name: String,
    api: String,
    kind: &'static str,
    driver: String,
}

/// What commands take where nothing else is asked for.
#[derive(Serialize)]
struct Used {
    device: Option<&'static str>,
    threads: usize,
    vector_bits: usize,
    /// The most bytes of memory that are planned for.
    memory: u64,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut report = examine()?;
    report.advice = advice(&report);
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&report)?),
        false => say!("{}", table(&report)),
    }
    Ok(())
}

/// Looks, and opens nothing that computes.
fn examine() -> Result<Report> {
    let mut system = System::new();
    system.refresh_memory();
    system.refresh_cpu_all();
    let compiled = device::names();
    let folder = std::env::current_dir().context("the current folder cannot be found")?;
    let mut memory = Memory { total: system.total_memory(), free: system.available_memory() };
    if let Some(container) = system.cgroup_limits() {
        memory.total = memory.total.min(container.total_memory);
        memory.free = memory.free.min(container.free_memory);
    }
    Ok(Report {
        format_version: FORMAT_VERSION,
        program: Program {
            version: env!("CARGO_PKG_VERSION"),
            optimized: !cfg!(debug_assertions),
            page: cfg!(feature = "site"),
        },
        system: Machine {
            name: System::long_os_version(),
            kernel: System::kernel_version(),
            arch: std::env::consts::ARCH,
        },
        cpu: Cpu {
            name: system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).filter(|name| !name.is_empty()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            features: cpu_features(),
        },
        memory,
        disk: Disk { free: free_on_disk(&folder), folder: folder.display().to_string() },
        devices: device::KINDS.map(|name| DeviceKind { name, compiled: compiled.contains(&name) }).into(),
        adapters: adapters(),
        used: Used {
            device: compiled.first().copied(),
            threads: rayon::current_num_threads(),
            vector_bits: device::vector_bits(),
            memory: io::max_memory(),
        },
        advice: Vec::new(),
    })
}

/// Those of the CPU's instructions that matter here.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("sse4.1", std::is_x86_feature_detected!("sse4.1")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let features = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let features: [(&'static str, bool); 0] = [];
    features.into_iter().filter_map(|(name, found)| found.then_some(name)).collect()
}

/// Bytes that are free where a folder lies.
fn free_on_disk(folder: &Path) -> Option<u64> {
    let folder = io::resolve(folder);
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    let holds = disks.iter().filter(|disk| folder.starts_with(io::resolve(disk.mount_point())));
    let nearest = holds.max_by_key(|disk| disk.mount_point().components().count())?;
    // Some file systems of containers report nothing at all.
    (nearest.total_space() > 0).then(|| nearest.available_space())
}

/// What WebGPU finds: it looks for Vulkan, Metal and DirectX, as the system has them.
fn adapters() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapters = found.iter().map(|adapter| {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        };
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
        Adapter { name: info.name, api: info.backend.to_string(), kind, driver }
    });
    adapters.collect()
}

/// What to do about what is missing.
fn advice(report: &Report) -> Vec<String> {
    let mut advice: Vec<String> = Vec::new();
    if !report.program.optimized {
        advice.push("this build is not optimised and many times slower: build with `cargo build --release`".into());
    }
    let real: Vec<&Adapter> = report.adapters.iter().filter(|adapter| adapter.kind != "software").collect();
    let trains_on_gpu = report.devices.iter().any(|device| device.compiled && device.name != "cpu");
    match real.first() {
        Some(adapter) if !trains_on_gpu => {
            let feature = if adapter.name.to_lowercase().contains("nvidia") { "cuda" } else { "wgpu" };
            advice.push(format!(
                "{} is there, but this build trains on the CPU only: build with `--features {feature}` \
                 (docs/guide/scale.md)",
                adapter.name
            ));
        }
        None if report.adapters.is_empty() => advice.push(
            "no GPU driver was found; training and sampling work on the CPU, `sample --device webgpu` does not: \
             install the driver of your GPU (on Linux also its Vulkan part)"
                .into(),
        ),
        None => advice.push(
            "the only adapters compute on the CPU, which is slower than the program's own CPU engine: install the \
             driver of your GPU if there is one"
                .into(),
        ),
        Some(_) => {}
    }
    if !report.program.page {
        advice.push(
            "no page inside: `serve` and `export --web` take the dist folder that `make build` leaves; a program of a \
             release, or built with `--features site`, carries it"
                .into(),
        );
    }
    if report.used.threads < report.cpu.cores {
        advice.push(format!(
            "{} of {} cores are used: --threads and RAYON_NUM_THREADS set how many",
            report.used.threads, report.cpu.cores
        ));
    }
    if report.used.memory < ENOUGH_MEMORY {
        advice.push(format!(
            "{} of memory may be planned for, which is little for training: end other programs, or take a smaller \
             batch_size",
            gigabytes(report.used.memory)
        ));
    }
    if report.disk.free.is_some_and(|free| free < ENOUGH_DISK) {
        advice.push(
            "the disk of this folder is nearly full: a run with its checkpoints wants a gigabyte; write it elsewhere \
             with --out"
                .into(),
        );
    }
    advice
}

/// The report for people, in two columns.
fn table(report: &Report) -> String {
    let unknown = || "not known".to_owned();
    let Report { program, system, cpu, memory, disk, used, .. } = report;
    let kernel = system.kernel.as_deref().map_or(String::new(), |kernel| format!(", kernel {kernel}"));
    let compiled = |compiled: bool| -> Vec<&str> {
        let names = report.devices.iter().filter(|device| device.compiled == compiled).map(|device| device.name);
        names.collect()
    };
    let mut rows: Vec<(&str, String)> = vec![
        ("program", format!("meanflow {}{}", program.version, if program.optimized { "" } else { ", not optimised" })),
        ("system", format!("{} ({}{kernel})", system.name.clone().unwrap_or_else(unknown), system.arch)),
        ("CPU", format!("{}, {} cores", cpu.name.clone().unwrap_or_else(unknown), cpu.cores)),
        ("  instructions", in_row(&cpu.features)),
        ("memory", format!("{}, of which {} are free", gigabytes(memory.total), gigabytes(memory.free))),
        ("disk", format!("{} free in {}", disk.free.map_or_else(unknown, gigabytes), disk.folder)),
        ("devices", format!("{} (not compiled in: {})", in_row(&compiled(true)), in_row(&compiled(false)))),
    ];
    for adapter in &report.adapters {
        rows.push((
            "adapter",
            format!("{}, {}, {}, driver {}", adapter.name, adapter.api, adapter.kind, adapter.driver),
        ));
    }
    if report.adapters.is_empty() {
        rows.push(("adapter", "none".into()));
    }
    rows.push(("browser", "open chrome://gpu or about:support; the page says by which engine it draws".into()));
    let device = used.device.unwrap_or("none");
    rows.push((
        "used",
        format!(
            "device {device}, {} threads, vectors of {} bits, up to {} of memory",
            used.threads,
            used.vector_bits,
            gigabytes(used.memory)
        ),
    ));
    for text in &report.advice {
        rows.push(("advice", text.clone()));
    }
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<16}{value}")).collect();
    lines.join("\n")
}

fn in_row(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that lacks nothing.
    fn complete() -> Report {
        Report {
            format_version: FORMAT_VERSION,
            program: Program { version: "1.0.0", optimized: true, page: true },
            system: Machine { name: Some("a system".into()), kernel: None, arch: "x86_64" },
            cpu: Cpu { name: None, cores: 8, features: vec!["avx2"] },
            memory: Memory { total: 16_000_000_000, free: 8_000_000_000 },
            disk: Disk { folder: "/here".into(), free: Some(50_000_000_000) },
            devices: vec![DeviceKind { name: "wgpu", compiled: true }, DeviceKind { name: "cpu", compiled: true }],
            adapters: vec![adapter("a GPU", "discrete")],
            used: Used { device: Some("wgpu"), threads: 8, vector_bits: 256, memory: 8_000_000_000 },
            advice: Vec::new(),
        }
    }

    fn adapter(name: &str, kind: &'static str) -> Adapter {
        Adapter { name: name.into(), api: "vulkan".into(), kind, driver: "a driver".into() }
    }

    #[test]
    fn each_thing_that_is_missing_has_its_advice_and_no_other() {
        type Change = fn(&mut Report);
        let cpu_only: Change = |report| report.devices[0].compiled = false;
        let cases: [(Change, &[&str]); 9] = [
            (|_| {}, &[]),
            (|report| report.program.page = false, &["--features site"]),
            (|report| report.program.optimized = false, &["--release"]),
            (cpu_only, &["--features wgpu"]),
            (
                |report| {
                    report.devices[0].compiled = false;
                    report.adapters[0].name = "NVIDIA H200".into();
                },
                &["--features cuda"],
            ),
            (|report| report.adapters.clear(), &["no GPU driver"]),
            (|report| report.adapters = vec![adapter("llvmpipe", "software")], &["compute on the CPU"]),
            (
                |report| {
                    report.used.threads = 2;
                    report.used.memory = 1 << 30;
                },
                &["2 of 8 cores", "1.1 GB of memory"],
            ),
            (|report| report.disk.free = Some(1 << 20), &["nearly full"]),
        ];
        for (change, words) in cases {
            let mut report = complete();
            change(&mut report);
            report.advice = advice(&report);
            assert_eq!(report.advice.len(), words.len(), "{:?}", report.advice);
            let table = table(&report);
            for (text, word) in report.advice.iter().zip(words) {
                assert!(text.contains(word), "`{text}` does not say `{word}`");
                assert!(table.contains(text));
            }
        }
    }

    /// What a folder has free is that of the disk that holds it, not of one above.
    #[test]
    fn the_disk_of_a_folder_that_is_there_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_ne!(free_on_disk(folder.path()), Some(0));
    }
}
