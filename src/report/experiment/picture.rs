//! The picture of the method: from images to one student.

use maud::{Markup, html};

use super::charts::shortened;

const WIDTH: f64 = 480.0;
const ROW: f64 = 38.0;
/// Where the rows of stage one begin.
const ROWS: f64 = 116.0;

/// With a row for each task of this experiment.
pub fn method(tasks: &[String]) -> Markup {
    let end = ROWS + ROW * tasks.len() as f64 - 10.0;
    let (teacher, student) = (end + 28.0, end + 112.0);
    let height = student + 50.0;
    html! {
        figure.picture {
            svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="From images to one student" {
                (area(10.0, 6.0, 220.0, "Few labelled images", false))
                (area(250.0, 6.0, 220.0, "Many unlabelled images", false))
                (arrow(120.0, 40.0, 72.0))
                (arrow(360.0, 40.0, 72.0))
                rect.stage x="2" y="74" width="476" height=(end - 74.0) rx="8" {}
                text.label x="14" y="94" { "Stage one: each task beside the target, in two modes" }
                @for (index, task) in tasks.iter().enumerate() {
                    @let y = ROWS + ROW * index as f64 - 12.0;
                    text.bold x="14" y=(y + 20.0) { (shortened(task, 16)) title { (task) } }
                    // The elite model is of one of the two, so the arrow starts from both.
                    rect.either x="126" y=(y - 3.0) width="204" height="36" rx="8" {}
                    (area(130.0, y, 68.0, "joint", false))
                    text x="209" y=(y + 15.0) dy="0.34em" text-anchor="middle" { "or" }
                    (area(220.0, y, 106.0, "pre-training", false))
                    path d={ "M331 " (y + 15.0) "h21" } {}
                    path.head d={ "M352 " (y + 10.0) "l9 5l-9 5z" } {}
                    (area(364.0, y, 104.0, "elite model", false))
                }
                (arrow(416.0, end, teacher - 3.0))
                text.label x="402" y=(end + 18.0) text-anchor="end" { "the better one by validation Dice" }
                (area(204.0, teacher, 264.0, "Teacher: elite models together", false))
                (arrow(416.0, teacher + 32.0, student - 3.0))
                text.label x="402" y=(teacher + 52.0) text-anchor="end" { "Stage two: distillation, on the labelled" }
                text.label x="402" y=(teacher + 68.0) text-anchor="end" { "and the unlabelled images" }
                (area(204.0, student, 264.0, "Student: one U-Net, the cost of one", true))
            }
        }
    }
}

fn area(x: f64, y: f64, width: f64, text: &str, key: bool) -> Markup {
    html! {
        rect.key[key] x=(x) y=(y) width=(width) height="30" rx="6" {}
        text x=(x + width / 2.0) y=(y + 15.0) dy="0.34em" text-anchor="middle" { (text) }
    }
}

fn arrow(x: f64, from: f64, to: f64) -> Markup {
    html! {
        path d={ "M" (x) " " (from) "V" (to - 8.0) } {}
        path.head d={ "M" (x - 5.0) " " (to - 9.0) "h10l-5 9z" } {}
    }
}
