//! The `meanflow` command: train a one-step image generator, sample from it, export it for the web.

mod bench;
mod bench_sample;
mod classifier;
mod compare;
mod dashboard;
mod encode;
mod eval;
mod export;
mod import;
mod inspect;
mod likelihood;
mod model;
mod neighbours;
mod playground;
mod random;
mod rehearse;
mod repack;
mod report;
mod sample;
mod site;
mod train;

use clap::{Parser, Subcommand};

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
    Neighbours(neighbours::Args),
    Playground(playground::Args),
    #[command(hide = true)]
    BenchTrain(bench::Args),
    #[command(hide = true)]
    BenchSample(bench_sample::Args),
    #[command(hide = true)]
    RandomWeights(random::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(args),
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
        Command::Neighbours(args) => neighbours::run(&args),
        Command::Playground(args) => playground::run(&args),
        Command::BenchTrain(args) => bench::run(&args),
        Command::BenchSample(args) => bench_sample::run(&args),
        Command::RandomWeights(args) => random::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
