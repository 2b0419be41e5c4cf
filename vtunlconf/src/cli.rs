//! The command line of the program: options, scripts, completions, the manual page.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::command::table;
use crate::commands::{read_hosts, wrapped};
use crate::diag::{Done, Fail, Kind, STATUSES, Source};
use crate::interactive;
use crate::lab::ClockKind;
use crate::lex;
use crate::out::Look;
use crate::shell::Shell;
use crate::style::{Paint, When};

/// The shell of the vtunl tunnelling interface: builds emulated Solaris hosts, plumbs
/// streams, configures tunnels, and shows what goes on.
///
/// Without FILE and -c, commands are read from standard input; typed at a terminal, with
/// history and completion. The first command of a script that fails ends it.
#[derive(Parser, Debug)]
#[command(
    name = "vtunlconf",
    version,
    max_term_width = 90,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// Scripts to run, in their order; - is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// Run these commands, after the scripts; can be repeated
    #[arg(short, long = "command", value_name = "COMMANDS")]
    pub commands: Vec<String>,
    /// Names of addresses, in the form of /etc/hosts
    #[arg(long, value_name = "FILE")]
    pub hosts: Vec<String>,
    /// Print one JSON object per command
    #[arg(long)]
    pub json: bool,
    /// Print results and failures only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print each command before it runs
    #[arg(short = 'x', long)]
    pub echo: bool,
    /// Draw with ASCII characters only
    #[arg(long)]
    pub ascii: bool,
    /// Read commands from the terminal after the scripts and -c
    #[arg(short, long)]
    pub interactive: bool,
    /// What moves time [default: emulated for scripts, real when somebody types]
    #[arg(long, value_enum)]
    pub clock: Option<ClockKind>,
    /// When to use colour
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: When,
    /// Print a completion script or the manual page
    #[command(subcommand)]
    pub print: Option<Print>,
}

/// What can be printed instead of running anything.
#[derive(Subcommand, Debug)]
pub enum Print {
    /// Print the completion script of a shell
    Completions {
        /// Whose
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// The program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print(); // nowhere else to say it
            let status = if e.use_stderr() {
                Kind::Usage.status()
            } else {
                0
            };
            return ExitCode::from(status);
        }
    };
    if let Some(print) = &cli.print {
        return match print_page(print) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(Kind::HostForbids.status()),
        };
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(f) => f.end("vtunlconf"),
    }
}

fn run(cli: &Cli) -> Done {
    let typed = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let scripted = !cli.files.is_empty() || !cli.commands.is_empty();
    let interactive = cli.interactive || (typed && !scripted);
    let clock = cli.clock.unwrap_or(match interactive {
        true => ClockKind::Real,
        false => ClockKind::Emulated,
    });
    let look = Look {
        json: cli.json,
        quiet: cli.quiet,
        ascii: cli.ascii,
        paint: Paint::choose(cli.color, &std::io::stdout()),
    };
    let mut sh = Shell::new(clock, look);
    sh.err_paint = Paint::choose(cli.color, &std::io::stderr());
    sh.echo = cli.echo;
    sh.signals.catch().map_err(|e| Fail::io("signals", &e))?;
    let done = run_all(cli, &mut sh, interactive);
    sh.lab.shut_down();
    done
}

fn run_all(cli: &Cli, sh: &mut Shell, interactive: bool) -> Done {
    let scripted = !cli.files.is_empty() || !cli.commands.is_empty();
    for file in &cli.hosts {
        read_hosts(sh, file)?;
    }
    for file in &cli.files {
        match file.as_str() {
            "-" => from_stdin(sh)?,
            file => sh.run_file(file)?,
        }
    }
    for text in &cli.commands {
        if !sh.quit {
            sh.run_source(Source::new("-c", text))?;
        }
    }
    if interactive && !sh.quit {
        sh.interactive = true;
        interactive::run(sh)
    } else if scripted {
        Ok(())
    } else {
        from_stdin(sh)
    }
}

/// Runs standard input command by command as it comes: another program may be talking.
fn from_stdin(sh: &mut Shell) -> Done {
    let mut input = std::io::stdin().lock();
    let (mut text, mut first_line, mut lines) = (String::new(), 1, 0);
    while !sh.quit && !sh.out.is_broken() {
        let got = input
            .read_line(&mut text)
            .map_err(|e| Fail::io("standard input", &e))?;
        lines += usize::from(got > 0);
        // An open quote or a \ at the end: the command goes on in the next line.
        let open = lex::statements(&text).is_err_and(|e| e.incomplete);
        if got > 0 && (open || text.ends_with("\\\n")) {
            continue;
        }
        let source = Source {
            name: "-",
            text: &text,
            first_line,
        };
        sh.run_source(source)?;
        text.clear();
        first_line = lines + 1;
        if got == 0 {
            break;
        }
    }
    Ok(())
}

fn print_page(what: &Print) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match what {
        Print::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "vtunlconf", &mut text);
            out.write_all(&text)
        }
        Print::Man => out.write_all(&manual()?),
    }
}

/// The manual page: the options from the command line's definition, the commands from
/// their table.
///
/// # Errors
/// None that a buffer in memory can give.
pub fn manual() -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let man = clap_mangen::Man::new(Cli::command());
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut text = String::from(".SH COMMANDS\n");
    let escape = |s: &str| s.replace('\\', "\\e").replace('-', "\\-");
    // A line must not begin with what roff takes for a request.
    let line = |s: &str| format!("\\&{}\n", escape(s));
    for e in &table().entries {
        text.push_str(&format!(".SS {}\n", escape(e.command.name)));
        for usage in e.usage_lines() {
            text.push_str(&format!("{}.br\n", line(&usage)));
        }
        text.push_str(".PP\n");
        let help = e.command.help;
        let mut letters = help.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string());
        let sentence = format!("{}{}.", first.unwrap_or_default(), letters.as_str());
        let long = wrapped(&format!("{sentence} {}", e.command.long), 78, "");
        text.extend(long.lines().map(line));
        text.push_str(".PP\n.nf\n");
        text.extend(e.command.examples.iter().map(|x| line(&format!("    {x}"))));
        text.push_str(".fi\n");
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    for (n, what) in STATUSES {
        text.push_str(&format!(".TP\n{n}\n{}", line(what)));
    }
    text.push_str(".SH ENVIRONMENT\n.TP\nNO_COLOR\nIf set and not empty, no colour.\n");
    text.push_str(".TP\nXDG_STATE_HOME\nWhere the history of typed commands is kept.\n");
    out.extend_from_slice(text.as_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_tells_every_command() {
        let text = String::from_utf8(manual().unwrap()).unwrap();
        for name in table().entries.iter().map(|e| e.command.name) {
            let name = name.replace('-', "\\-");
            assert!(text.contains(&format!(".SS {name}\n")), "{name}");
        }
    }
}
