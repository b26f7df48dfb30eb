//! Completions and the manual page, from the same description as the command line itself.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::exit::Outcome;

pub fn completions(shell: Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "redlock", &mut text);
    std::io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// One page with every command, as redlock(1).
pub fn manual() -> Outcome {
    let mut command = Arguments::command();
    command.build();
    let page = clap_mangen::Man::new(command.clone()).title("REDLOCK").section("1").manual("redlock");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    writeln!(text, ".SH COMMANDS")?;
    for mut subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned() {
        writeln!(text, ".SS {}", subcommand.render_usage().to_string().trim_start_matches("Usage: "))?;
        writeln!(text, "{}", subcommand.get_about().map(ToString::to_string).unwrap_or_default())?;
        for argument in
            subcommand.get_arguments().filter(|argument| !argument.is_global_set() && !argument.is_hide_set())
        {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            if !help.is_empty() && !matches!(argument.get_id().as_str(), "help" | "version") {
                writeln!(text, ".TP\n\\fB{}\\fR\n{help}", argument.to_string().replace('-', "\\-"))?;
            }
        }
    }
    page.render_extra_section(&mut text)?;
    std::io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}
