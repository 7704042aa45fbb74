//! The `meanflow` command: train a one-step image generator, sample from it, export it for the web.

#[macro_use]
mod terminal;

mod bench;
mod bench_sample;
mod classifier;
mod compare;
mod dashboard;
mod doctor;
mod dry_run;
mod encode;
mod eval;
mod export;
mod hint;
mod images;
mod import;
mod inputs;
mod inspect;
mod likelihood;
mod model;
mod neighbours;
mod playground;
mod random;
mod read_back;
mod repack;
mod report;
mod sample;
mod serve;
mod shell;
mod site;
mod train;

use clap::{Parser, Subcommand};
use meanflow::io;

/// Training frees and takes the same large buffers in every step; the system's allocator gives them back in between.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One-step image generation with MeanFlow: train on your images, export one file, open it in a page.
///
/// Start with `meanflow train --data my-images --out run`, look at run/samples while it trains, then
/// `meanflow export run --out mine.safetensors` and drop that file on the page.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The most memory to plan for, such as 8GB; what the machine has free if not given. What would take more is
    /// refused
    #[arg(long, global = true, value_name = "SIZE", value_parser = io::parse_size)]
    max_memory: Option<u64>,
    /// Threads that compute on the CPU; as many as it has cores, or as RAYON_NUM_THREADS says, if not given
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Args),
    Sample(sample::Args),
    Report(report::Args),
    Export(export::Args),
    Import(import::Args),
    Encode(encode::Args),
    Repack(repack::Args),
    Inspect(inspect::Args),
    Likelihood(likelihood::Args),
    Classifier(classifier::Args),
    Eval(eval::Args),
    Compare(compare::Args),
    ReadBack(read_back::Args),
    Neighbours(neighbours::Args),
    Playground(playground::Args),
    Serve(serve::Args),
    Doctor(doctor::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
    #[command(hide = true)]
    BenchTrain(bench::Args),
    #[command(hide = true)]
    BenchSample(bench_sample::Args),
    #[command(hide = true)]
    RandomWeights(random::Args),
}

/// How long the allocator keeps what is freed, in milliseconds. Training takes the same memory again in its next step;
/// what the system has been given back it clears first, which was a quarter of the time of a large network's step.
const KEEP_FREED: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "60000");

/// A program that is ended leaves no half-written file.
fn end_on_signals() {
    // Where the system refuses, what may be left is a hidden temporary file.
    let _ = io::system::on_end(|| io::exit_without_leftovers(130));
}

/// The command line; where it cannot be read, the program ends with the reason.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let Some(hint) = hint::for_unknown_flag(&error) else { error.exit() };
        let _ = error.print();
        note!("  hint: {hint}");
        std::process::exit(error.exit_code())
    })
}

fn main() -> std::process::ExitCode {
    let Cli { command, max_memory, threads } = parse();
    io::system::report_file_limits();
    let threads = threads.map(|count| count as usize);
    if let Some(bytes) = max_memory {
        io::set_max_memory(bytes);
    }
    if matches!(command, Command::Train(_) | Command::Playground(_) | Command::Classifier(_) | Command::BenchTrain(_)) {
        // The allocator reads its settings from the environment before `main`.
        io::system::restart_with(KEEP_FREED.0, KEEP_FREED.1);
    }
    if let (Some(count), false) = (threads, matches!(command, Command::Train(_)))
        // Training settles it with its settings.
        && let Err(error) = meanflow::train::set_threads(count)
    {
        note!("warning: {error}");
    }
    if !matches!(command, Command::Train(_)) {
        // Training has its own way to stop.
        end_on_signals();
    }
    let result = match command {
        Command::Train(args) => train::run(args, threads),
        Command::Sample(args) => sample::run(args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
        Command::Encode(args) => encode::run(&args),
        Command::Repack(args) => repack::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Likelihood(args) => likelihood::run(&args),
        Command::Classifier(args) => classifier::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::ReadBack(args) => read_back::run(&args),
        Command::Neighbours(args) => neighbours::run(&args),
        Command::Playground(args) => playground::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::BenchTrain(args) => bench::run(&args),
        Command::BenchSample(args) => bench_sample::run(&args),
        Command::RandomWeights(args) => random::run(&args),
    };
    let result = result.and_then(|()| match terminal::lost() {
        Some(reason) => Err(anyhow::anyhow!("cannot write standard output: {reason}")),
        None => Ok(()),
    });
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            note!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
