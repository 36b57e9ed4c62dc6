//! Which runs `--only` names.

use super::error::{MethodError, near};
use super::graph::{Graph, rivals};
use super::plan::Which;
use super::run::RunSpec;
use crate::config::Config;
use crate::report::words::listed;

/// Whether `name` is the id or the folder of the run, or the beginning of one up to a `:` or a `/`.
pub fn is_named(name: &str, run: &RunSpec) -> bool {
    let begins = |whole: &str, mark: char| {
        let name = name.trim_end_matches(mark);
        let rest = whole.strip_prefix(name).filter(|_| !name.is_empty());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(mark))
    };
    begins(&run.id, ':') || begins(&run.folder(), '/')
}

/// Refuses names in `only` by which `graph`, that of `config`, has no run.
///
/// # Errors
/// The first of these: a method, with the runs that it is made of, a run that only another command does,
/// or what there is not at all.
pub fn check_only(graph: &Graph, config: &Config, which: Which, only: &[String]) -> Result<(), MethodError> {
    let runs = &graph.runs;
    let Some(id) = only.iter().find(|id| !runs.iter().any(|run| is_named(id, run))) else { return Ok(()) };
    let id = id.clone();
    let mut whole = config.clone();
    whole.method.rivals.clear();
    let whole = Graph::of(&whole, Which::Compare)?;
    if whole.runs.iter().any(|run| is_named(&id, run)) {
        let why = match which {
            Which::TwoStage => "",
            Which::Compare => " either: method.rivals does not name it",
        };
        return Err(MethodError::OfCompare { id, why });
    }
    // Such as single_joint, which stands for a method a task.
    let is_rival = rivals().iter().any(|rival| rival.name == id);
    let of_rival = |name: &str| is_rival && name.starts_with(&format!("{id}_"));
    let methods = whole.methods.iter().filter(|method| method.name == id || of_rival(&method.name));
    let made_of: Vec<String> = methods.flat_map(|method| method.runs.clone()).collect();
    if !made_of.is_empty() {
        return Err(MethodError::MadeOf { id, runs: listed(&made_of) });
    }
    let folders: Vec<String> = runs.iter().map(RunSpec::folder).collect();
    let names = runs.iter().map(|run| run.id.as_str()).chain(folders.iter().map(String::as_str));
    let plan = match which {
        Which::TwoStage => "wgseg plan CONFIG",
        Which::Compare => "wgseg plan CONFIG --compare",
    };
    Err(MethodError::UnknownRun { nearest: near(&id, names), id, plan })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.method.tasks = vec!["rotation".into(), "edges".into()];
        config
    }

    fn refused(which: Which, name: &str) -> String {
        let graph = Graph::of(&config(), which).unwrap();
        check_only(&graph, &config(), which, &[name.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn a_beginning_stands_for_all_that_begins_so() {
        let graph = Graph::of(&config(), Which::TwoStage).unwrap();
        let named = |name: &str| -> Vec<String> {
            let runs = graph.runs.iter().filter(|run| run.seed == 0 && is_named(name, run));
            runs.map(|run| run.id.clone()).collect()
        };
        let edges = ["stage1:edges:joint", "stage1:edges:pretrain", "stage1:edges:finetune"];
        assert_eq!(named("stage1:edges"), edges);
        assert_eq!(named("stage1:edges:"), edges);
        assert_eq!(named("seed_0/stage1/edges/"), edges);
        assert_eq!(named("target_only"), ["target_only"], "and not target_only_longer");
        assert_eq!(named("target_only_longer"), ["target_only_longer:2", "target_only_longer:3"]);
        assert!(named("stage1:edge").is_empty() && named("").is_empty() && named("/").is_empty());
        check_only(&graph, &config(), Which::TwoStage, &["stage1:edges".into()]).unwrap();
    }

    #[test]
    fn a_method_is_told_with_its_runs_and_a_run_of_compare_as_such() {
        let text = refused(Which::Compare, "single_joint");
        assert!(text.contains("made of the runs stage1:rotation:joint, stage1:edges:joint;"), "{text}");
        let text = refused(Which::TwoStage, "single_pretrain_edges");
        assert!(text.contains("made of the runs stage1:edges:finetune;"), "{text}");
        let text = refused(Which::TwoStage, "joint_pcgrad");
        assert!(text.contains("`joint_pcgrad` is a run of `wgseg compare`"), "{text}");
        let mut narrow = config();
        narrow.method.rivals = vec!["joint_equal".into()];
        let graph = Graph::of(&narrow, Which::Compare).unwrap();
        let error = check_only(&graph, &narrow, Which::Compare, &["joint_pcgrad".into()]).unwrap_err();
        assert!(error.to_string().contains("method.rivals does not name it"), "{error}");
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let text = refused(Which::TwoStage, "two_stge");
        assert!(text.contains("did you mean `two_stage`? `wgseg plan CONFIG` lists all"), "{text}");
        assert!(
            refused(Which::Compare, "joint_pcgrd")
                .contains("`joint_pcgrad`? `wgseg plan CONFIG --compare` lists")
        );
        for far in ["", "zzz", "everything"] {
            assert!(!refused(Which::TwoStage, far).contains("did you mean"), "{far}");
        }
    }
}
