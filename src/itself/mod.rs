//! This program, to be started again: a driver that may die is given a process of its own.

pub mod worker;

use std::process::Command;

/// A command that starts this program again, without arguments yet.
///
/// # Errors
/// The system does not tell where the program is.
pub fn command() -> std::io::Result<Command> {
    let Some((first, rest)) = loader() else { return Ok(Command::new(std::env::current_exe()?)) };
    let mut command = Command::new(first);
    command.args(rest);
    Ok(command)
}

/// What a dynamic loader was started with up to this program, where one was called by name (`ld-linux… --library-path …
/// wgseg …`): the system then takes the loader for the program. `None` where the program was started as it is.
fn loader() -> Option<(String, Vec<String>)> {
    let whole = std::fs::read("/proc/self/cmdline").ok()?;
    let words: Vec<String> =
        whole.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    // Each word ends with a zero, so that the last of the pieces is empty.
    before_arguments(&words[..words.len() - 1], std::env::args_os().count())
}

/// The words of a command line before the arguments of the program, which it counts with its own name; `None` where that name
/// is the first.
fn before_arguments(words: &[String], own: usize) -> Option<(String, Vec<String>)> {
    let before = words.len().checked_sub(own)?;
    let (first, rest) = words.get(..=before)?.split_first()?;
    (before > 0).then(|| (first.clone(), rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_started_again_with_what_it_was_given() {
        let words: Vec<String> = ["ld-linux.so.2", "--library-path", "lib", "wgseg", "verify", "--json"]
            .map(str::to_owned)
            .to_vec();
        let (first, rest) = before_arguments(&words, 3).unwrap();
        assert_eq!((first.as_str(), rest), ("ld-linux.so.2", words[1..4].to_vec()));
        assert_eq!(before_arguments(&words[3..], 3), None);
        assert_eq!(before_arguments(&words[3..], 4), None);
    }

    #[test]
    fn this_program_is_found() {
        assert!(command().unwrap().arg("--list").output().unwrap().status.success());
    }
}
