//! Failures that are known to be a driver's own. They stand here and nowhere else: a check that fails as one of these says
//! is told as `known`, with the reason, and does not make a report fail.

use super::report::{Check, Device, Group, Outcome};

/// What fails where. An adapter, driver, backend and case fit by a part of their names, in lower case; an empty part fits all.
struct Known {
    group: Group,
    adapter: &'static str,
    driver: &'static str,
    backend: &'static str,
    /// The op, or what is checked of a device, by its whole name.
    subject: &'static str,
    case: &'static str,
    reason: &'static str,
}

const KNOWN: &[Known] = &[];

/// Marks a check that fails as it is known to fail on this device.
pub fn marked(device: &Device, check: Check) -> Check {
    marked_by(KNOWN, device, check)
}

fn marked_by(known: &[Known], device: &Device, check: Check) -> Check {
    if !check.outcome.is_bad() {
        return check;
    }
    let fits = |part: &str, text: &str| text.to_lowercase().contains(part);
    let found = known.iter().find(|k| {
        fits(k.adapter, &device.name)
            && fits(k.driver, &device.driver)
            && fits(k.backend, &device.backend)
            && (k.group, k.subject) == (check.group, check.subject.as_str())
            && fits(k.case, &check.case)
    });
    match found {
        Some(known) => {
            let reason = format!("{}: {}", known.reason, check.reason);
            Check { outcome: Outcome::Known, ..check }.because(reason)
        }
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_as_known_is_told_so_and_nothing_else() {
        let known = [Known {
            group: Group::Kernel,
            adapter: "swift",
            driver: "5.0",
            backend: "vulkan",
            subject: "conv2d",
            case: "odd",
            reason: "divides wrongly",
        }];
        let device = Device {
            name: "SwiftShader Device".to_owned(),
            driver: "SwiftShader driver 5.0.0".to_owned(),
            backend: "vulkan".to_owned(),
            ..Device::default()
        };
        let check =
            |subject, outcome| Check::new(Group::Kernel, subject, "odd sides", outcome).because("off by 1");
        let of = |device: &Device, check| marked_by(&known, device, check);
        let marked = of(&device, check("conv2d", Outcome::Fail));
        assert_eq!((marked.outcome, marked.reason.as_str()), (Outcome::Known, "divides wrongly: off by 1"));
        assert_eq!(of(&device, check("conv2d", Outcome::Pass)).outcome, Outcome::Pass);
        let other = Check { group: Group::Determinism, ..check("conv2d", Outcome::Fail) };
        for check in [other, check("conv2d_grad_input", Outcome::Fail)] {
            assert_eq!(of(&device, check).outcome, Outcome::Fail);
        }
        let other = Device { name: "llvmpipe".to_owned(), ..device };
        assert_eq!(of(&other, check("conv2d", Outcome::Crashed)).outcome, Outcome::Crashed);
    }
}
