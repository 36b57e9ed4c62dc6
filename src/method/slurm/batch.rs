//! What is handed to Slurm: runs by level, a script for each array, and its options.

use std::path::Path;

use super::super::assess::Job;
use super::error::SlurmError;

/// A job is asked to save so many seconds before its time is over.
pub const NOTICE_SECONDS: u64 = 90;

/// Shortest time of a job: the notice, which Slurm may give a minute early, and as long to start.
pub const LEAST_MINUTES: u64 = 5;

/// What does not come to the end of a step so many seconds after the notice, as a student that asks its teachers, is put back
/// in the queue as it is: at the end of its time Slurm would end it for good.
const OVERDUE_SECONDS: u64 = 60;

/// How often a job goes back to the queue when its time is over.
const MOST_TIMES_OVER: u32 = 50;

/// How often a job goes back to the queue when its process was killed, as by the system for memory.
const MOST_KILLED: u32 = 3;

/// Options of sbatch that say which runs a job does, when and where, and how sbatch answers, in both forms.
const RESERVED: [&str; 13] = [
    "--array",
    "-a",
    "--dependency",
    "-d",
    "--job-name",
    "-J",
    "--parsable",
    "--wrap",
    "--test-only",
    "--wait",
    "-W",
    "--clusters",
    "-M",
];
/// A dash and letters that sbatch takes as a shortened option, such as `--arr`: this long at least.
const SHORTENED: usize = 4;

/// What users ask of Slurm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmOptions {
    pub partition: Option<String>,
    /// Longest time of a job, in Slurm's own form.
    pub time: Option<String>,
    /// For sbatch, as they are.
    pub arguments: Vec<String>,
    /// Jobs of an array that run at once; all that there is room for where none is given.
    pub at_once: Option<u16>,
    /// Arguments of `wgseg run-one` besides folder and run.
    pub worker: Vec<String>,
}

impl SlurmOptions {
    /// Reads the text of `--slurm-args` as a shell would.
    ///
    /// # Errors
    /// A quote that does not end, an option that is not the user's.
    pub fn arguments(text: &str) -> Result<Vec<String>, SlurmError> {
        let arguments = shlex::split(text).ok_or_else(|| SlurmError::Quotes { text: text.to_owned() })?;
        let is_reserved = |argument: &&String| {
            RESERVED.iter().any(|option| match option.starts_with("--") {
                true => {
                    let name = argument.split('=').next().unwrap_or_default();
                    name.len() >= SHORTENED && option.starts_with(name)
                }
                // `-a0-3` as well as `-a 0-3`.
                false => !argument.starts_with("--") && argument.starts_with(option),
            })
        };
        match arguments.iter().find(is_reserved) {
            Some(option) => Err(SlurmError::Reserved { option: option.clone() }),
            None => Ok(arguments),
        }
    }

    /// Refuses a `--time` in which a job would get nowhere. What is not understood is for Slurm to judge.
    ///
    /// # Errors
    /// It is shorter than [`LEAST_MINUTES`].
    pub fn check_time(&self) -> Result<(), SlurmError> {
        match self.time.as_deref().and_then(|time| Some((time, seconds(time)?))) {
            // Slurm takes 0 as no limit.
            Some((time, seconds)) if seconds > 0 && seconds < LEAST_MINUTES * 60 => {
                Err(SlurmError::ShortTime { time: time.to_owned(), seconds })
            }
            _ => Ok(()),
        }
    }

    /// Those of any job.
    pub fn common(&self) -> Vec<String> {
        let mut options = vec![];
        options.extend(self.partition.iter().map(|name| format!("--partition={name}")));
        options.extend(self.time.iter().map(|time| format!("--time={time}")));
        options.extend(self.arguments.clone());
        options
    }

    /// Those of the array `name` of `count` jobs, which starts after the jobs `after` have ended.
    pub fn of_array(&self, name: &str, count: usize, after: &[u64], log: &str) -> Vec<String> {
        let limit = self.at_once.map_or(String::new(), |limit| format!("%{limit}"));
        let mut options = vec![
            format!("--job-name={name}"),
            format!("--array=0-{}{limit}", count - 1),
            // Slurm writes other things in place of `%` and a letter.
            format!("--output={}", log.replace('%', "%%")),
            "--open-mode=append".to_owned(),
            "--requeue".to_owned(),
            format!("--signal=B:USR1@{NOTICE_SECONDS}"),
        ];
        if !after.is_empty() {
            // Not afterok: one run that failed would keep all others of the level from starting.
            let after: Vec<String> = after.iter().map(u64::to_string).collect();
            options.push(format!("--dependency=afterany:{}", after.join(":")));
        }
        // Last, so that users have the last word.
        options.extend(self.common());
        options
    }
}

/// Seconds of a time in one of Slurm's forms: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S (sbatch's manual, `--time`).
fn seconds(time: &str) -> Option<u64> {
    let (days, rest) = match time.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, time),
    };
    let parts = rest.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let (hours, minutes, seconds) = match (days, &parts[..]) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let hours = days.unwrap_or(0).checked_mul(24)?.checked_add(hours)?;
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)
}

/// How many runs stand in line before each of `jobs` that is not complete: 0 for those that can start at
/// once. None for those that are complete or not wanted.
pub fn levels(jobs: &[Job]) -> Vec<Option<usize>> {
    let mut levels: Vec<Option<usize>> = vec![];
    // Runs stand after those that they need.
    for job in jobs {
        let to_do = job.wanted && !job.is_complete();
        let before = job.needs.iter().filter_map(|need| levels[*need]).max();
        levels.push(to_do.then(|| before.map_or(0, |level| level + 1)));
    }
    levels
}

/// Quoted for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The script of an array whose jobs do `runs`, one each, by the words of `program`. What a run tells goes to its own
/// file in `logs`, in all tries.
pub fn script(program: &[String], root: &Path, logs: &Path, runs: &[&str], worker: &[String]) -> String {
    let path = |path: &Path| quoted(&path.to_string_lossy());
    let worker: Vec<String> = worker.iter().map(|argument| format!(" {}", quoted(argument))).collect();
    format!(
        r#"#!/bin/bash
# Written by wgseg for Slurm: job i of the array does run i.
runs=(
    {runs}
)
run=${{runs[$SLURM_ARRAY_TASK_ID]}}
exec >>{logs}/"${{run//\//.}}.log" 2>&1
restarts=${{SLURM_RESTART_COUNT:-0}}
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
echo "job $job on $SLURMD_NODENAME, restart $restarts, $(date -u +%FT%TZ)"
# Slurm's controller may be away for a moment.
requeue() {{
    local try
    for try in 1 2 3 4 5; do
        if scontrol requeue "$job"; then return 0; fi
        sleep 10
    done
    return 1
}}
time_over=0 cancelled=0 overdue=
is_time_over() {{
    time_over=1
    kill -TERM $worker 2>/dev/null
    if [ $restarts -lt {MOST_TIMES_OVER} ]; then
        (sleep {OVERDUE_SECONDS} && echo "no step ends: back to the queue" && requeue) &
        overdue=$!
    fi
}}
trap is_time_over USR1
# To end a job Slurm signals all its processes, and a second signal would keep the run from saving.
trap cancelled=1 TERM
{program} run-one {root} "$run"{worker} &
worker=$!
# A signal ends `wait`, but not what it waits for.
wait $worker
while kill -0 $worker 2>/dev/null; do wait $worker; done
# Now that it has ended, its own code, even where a signal came last.
wait $worker
code=$?
[ -z "$overdue" ] || kill $overdue 2>/dev/null
again=0
if [ $cancelled = 0 ]; then
    # Its time is over, and what it did is saved; or it was killed, or the driver ended it.
    if [ $time_over = 1 ] && [ $code = 130 ]; then [ $restarts -ge {MOST_TIMES_OVER} ] || again=1
    elif [ $code -gt 128 ]; then [ $restarts -ge {MOST_KILLED} ] || again=1; fi
fi
if [ $again = 1 ]; then
    echo "ended with exit code $code: back to the queue"
    # Slurm ends the script; so long it must not end by itself.
    if requeue; then
        sleep 60
        exit $code
    fi
fi
echo "ended with exit code $code"
exit $code
"#,
        runs = runs.iter().map(|run| quoted(run)).collect::<Vec<_>>().join("\n    "),
        logs = path(logs),
        root = path(root),
        program = program.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        worker = worker.concat(),
    )
}

/// Name of a run's file among the logs.
pub fn log_name(run: &str) -> String {
    format!("{}.log", run.replace('/', "."))
}

#[cfg(test)]
mod tests {
    use super::super::super::assess::assess;
    use super::super::super::inputs::tests::{images, spec};
    use super::*;

    #[test]
    fn a_run_stands_one_level_above_what_it_needs_and_what_is_complete_has_none() {
        let root = tempfile::tempdir().unwrap();
        let specs = [("a", vec![]), ("b", vec!["a"]), ("c", vec![]), ("d", vec!["b", "c"]), ("e", vec!["c"])];
        let specs: Vec<_> = specs.iter().map(|(id, needs)| spec(id, needs)).collect();
        let jobs = assess(root.path(), &specs, specs.len(), &images("images"), "1", &[], &[]).unwrap();
        assert_eq!(levels(&jobs), [Some(0), Some(1), Some(0), Some(2), Some(1)]);
        super::super::super::assess::tests::complete(root.path(), &jobs[0]);
        let jobs = assess(root.path(), &specs, 4, &images("images"), "1", &[], &[]).unwrap();
        assert_eq!(levels(&jobs), [None, Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn arguments_are_split_as_by_a_shell_and_those_of_wgseg_are_refused() {
        let found = SlurmOptions::arguments("--gpus=1 --comment='two words' -A lab").unwrap();
        assert_eq!(found, ["--gpus=1", "--comment=two words", "-A", "lab"]);
        assert!(SlurmOptions::arguments("").unwrap().is_empty());
        for text in [
            "--array=0-3",
            "--arr=0-3",
            "-a0-3",
            "--gpus=1 -d singleton",
            "--job-name x",
            "--job-nam=x",
            "-W",
        ] {
            let error = SlurmOptions::arguments(text).unwrap_err();
            assert!(matches!(error, SlurmError::Reserved { .. }), "{text}: {error}");
        }
        let error = SlurmOptions::arguments("--comment='two").unwrap_err().to_string();
        assert!(error.contains("quote that does not end"), "{error}");
    }

    #[test]
    fn options_of_an_array() {
        let options = SlurmOptions {
            partition: Some("gpu".into()),
            time: Some("1:00:00".into()),
            arguments: vec!["--gpus=1".into()],
            at_once: Some(8),
            worker: vec![],
        };
        let found = options.of_array("wgseg-ab-0002", 5, &[7, 9], "array.log");
        let expected = [
            "--job-name=wgseg-ab-0002",
            "--array=0-4%8",
            "--output=array.log",
            "--open-mode=append",
            "--requeue",
            "--signal=B:USR1@90",
            "--dependency=afterany:7:9",
            "--partition=gpu",
            "--time=1:00:00",
            "--gpus=1",
        ];
        assert_eq!(found, expected);
        let plain = SlurmOptions::default().of_array("n", 1, &[], "array.log");
        assert!(plain.contains(&"--array=0-0".to_owned()), "{plain:?}");
        assert!(!plain.iter().any(|option| option.starts_with("--dependency")), "{plain:?}");
    }

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        let minute = 60;
        for (time, expected) in [
            ("5", 5 * minute),
            ("2:30", 150),
            ("4:00:00", 240 * minute),
            ("1-2", 26 * 60 * minute),
            ("1-0:01", 1441 * minute),
            ("1-00:00:01", 1440 * minute + 1),
        ] {
            assert_eq!(seconds(time), Some(expected), "{time}");
        }
        for time in ["", "UNLIMITED", "1:2:3:4", "1-", "x-1", "-1", "99999999999999999-0"] {
            assert_eq!(seconds(time), None, "{time}");
        }
        let of = |time: &str| SlurmOptions { time: Some(time.into()), ..SlurmOptions::default() };
        for time in ["5", "5:00", "0", "UNLIMITED", "1-0"] {
            of(time).check_time().unwrap();
        }
        let error = of("2:30").check_time().unwrap_err().to_string();
        assert!(error.contains("--time 2:30 is 150 s") && error.contains("at least 5 (minutes)"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_script_does_the_run_of_its_place_and_quotes_what_the_shell_would_read() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("it's a log");
        std::fs::create_dir(&logs).unwrap();
        let text = script(
            &["echo".into()],
            Path::new("/a b/$c"),
            &logs,
            &["seed_0/a", "seed_0/b/c"],
            &["--x y".into()],
        );
        let file = folder.path().join("script.sh");
        std::fs::write(&file, text).unwrap();
        let status = std::process::Command::new("bash")
            .arg(&file)
            .env("SLURM_ARRAY_TASK_ID", "1")
            .env("SLURM_ARRAY_JOB_ID", "7")
            .status()
            .unwrap();
        assert!(status.success());
        let told = std::fs::read_to_string(logs.join(log_name("seed_0/b/c"))).unwrap();
        assert!(told.contains("job 7_1 on "), "{told}");
        assert!(told.contains("run-one /a b/$c seed_0/b/c --x y\n"), "{told}");
        assert!(told.ends_with("ended with exit code 0\n"), "{told}");
    }

    /// Runs the script, with `program` in the place of wgseg, until it is put back in the queue after USR1; gives its log and
    /// what `scontrol` was called with. The first call fails.
    #[cfg(unix)]
    fn told_that_its_time_is_over(program: &str) -> (String, String) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::write(at(name), text).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
            at(name).display().to_string()
        };
        let program = write("program", &format!("#!/bin/bash\ncd {}\n{program}", folder.path().display()));
        // As Slurm does, it ends the script.
        let scontrol = "#!/bin/bash\ncd $(dirname $0)\necho \"$*\" >>calls\n[ $(wc -l <calls) = 2 ] || exit 1\nkill -KILL $(cat pid)\n";
        write("scontrol", scontrol);
        let text = script(&[program], Path::new("/root"), folder.path(), &["a"], &[]);
        let text =
            text.replace(&format!("sleep {OVERDUE_SECONDS} "), "sleep 1 ").replace("sleep 10", "sleep 0");
        let script = write("script.sh", &text);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut child = std::process::Command::new("bash")
            .arg(script)
            .envs([("SLURM_ARRAY_TASK_ID", "0"), ("SLURM_ARRAY_JOB_ID", "7"), ("PATH", &path)])
            .spawn()
            .unwrap();
        std::fs::write(at("pid"), child.id().to_string()).unwrap();
        while !at("started").exists() {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let kill = std::process::Command::new("kill").args(["-USR1", &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        assert!(!child.wait().unwrap().success());
        let read = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        (read(&log_name("a")), read("calls"))
    }

    #[cfg(unix)]
    #[test]
    fn a_job_whose_time_is_over_goes_back_to_the_queue_with_or_without_the_end_of_a_step() {
        let twice = "requeue 7_0\nrequeue 7_0\n";
        let saves = "trap 'exit 130' TERM\ntouch started\nwhile true; do sleep 0.1; done\n";
        let (log, calls) = told_that_its_time_is_over(saves);
        assert_eq!(calls, twice);
        assert!(log.ends_with("ended with exit code 130: back to the queue\n"), "{log}");
        let goes_on = "trap '' TERM\ntouch started\nsleep 3\n";
        let (log, calls) = told_that_its_time_is_over(goes_on);
        assert_eq!(calls, twice);
        assert!(log.ends_with("no step ends: back to the queue\n"), "{log}");
    }
}
