//! `meanflow completions` and `meanflow man`: what shells and `man` know of the program, made of its command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use meanflow::io;

use crate::Cli;

/// Print what makes a shell complete the commands and flags of this program.
///
/// bash: meanflow completions bash > ~/.local/share/bash-completion/completions/meanflow
///
/// fish: meanflow completions fish > ~/.config/fish/completions/meanflow.fish
///
/// zsh: meanflow completions zsh > a file `_meanflow` in a folder of $fpath
///
/// PowerShell: meanflow completions powershell | Out-String | Invoke-Expression, in $PROFILE
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Write manual pages for `man`, one for the program and one for each command.
#[derive(clap::Args)]
pub struct ManArgs {
    /// Folder for the pages, such as ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs `meanflow completions`.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meanflow", &mut text);
    say!("{}", String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

/// Runs `meanflow man`.
pub fn man(args: &ManArgs) -> Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let commands: Vec<Command> = program.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    io::create_folder(&args.folder)?;
    let count = commands.len();
    for command in std::iter::once(program).chain(commands) {
        let page = Man::new(command);
        let mut text = Vec::new();
        page.render(&mut text)?;
        io::write_atomic(&args.folder.join(page.get_filename()), text)?;
    }
    say!("{}: meanflow.1 and the pages of {count} commands", args.folder.display());
    Ok(())
}
