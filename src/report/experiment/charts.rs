//! Line and point charts as inline SVG. Colours come from the page's style, so that they follow its
//! light or dark look.

use maud::{Markup, html};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Colours in the style, after which they start again.
const COLOURS: usize = 8;

/// One axis with its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub label: String,
    ticks: Vec<f64>,
    decimals: usize,
}

impl Axis {
    /// Over all finite `values`, rounded outwards to ticks.
    pub fn over(label: &str, values: impl Iterator<Item = f64>) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-3) {
            let room = (high.abs() * 0.1).max(0.01);
            (low, high) = (low - room, high + room);
        }
        let step = nice((high - low) / 5.0);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let ticks = (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
        Axis { label: label.to_owned(), ticks, decimals: (-(step.log10() + 1e-9).floor()).max(0.0) as usize }
    }

    fn low(&self) -> f64 {
        self.ticks[0]
    }

    /// 0 at the low end, 1 at the high one.
    fn place(&self, value: f64) -> f64 {
        (value - self.low()) / (self.ticks[self.ticks.len() - 1] - self.low())
    }

    fn text(&self, tick: f64) -> String {
        // No "-0".
        let tick = if tick.abs() < 1e-12 { 0.0 } else { tick };
        format!("{tick:.*}", self.decimals).replace('-', "−")
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A colour by number.
    Plain(usize),
    /// The same, bolder.
    Strong(usize),
    /// Text colour, dashed: something to compare with.
    Reference,
}

impl Look {
    fn class(self) -> String {
        match self {
            Look::Plain(colour) => format!("line c{}", colour % COLOURS),
            Look::Strong(colour) => format!("line strong c{}", colour % COLOURS),
            Look::Reference => "line reference".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Lines of one name have one entry in the legend.
    pub name: String,
    pub look: Look,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dot {
    pub at: (f64, f64),
    /// Shown by a browser when pointed at.
    pub title: String,
}

/// Lines over two axes, with a legend below.
pub fn lines(title: &str, x: &str, y: &str, lines: &[Line]) -> Markup {
    draw_lines(title, x, y, lines, 0.0)
}

/// The same, the y axis over what is after the first quarter of the x axis and the end of each line: a steep
/// start would leave no room for what comes after it.
pub fn later_lines(title: &str, x: &str, y: &str, lines: &[Line]) -> Markup {
    let last = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(0.0, f64::max);
    draw_lines(title, x, y, lines, last / 4.0)
}

fn draw_lines(title: &str, x: &str, y: &str, lines: &[Line], from: f64) -> Markup {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let x = Axis::over(x, points().map(|point| point.0).chain([0.0]));
    let shown = |line: &Line| {
        let last = line.points.len().saturating_sub(1);
        let points = line.points.clone().into_iter().enumerate();
        points.filter(move |(place, point)| point.0 >= from || *place == last).map(|(_, point)| point.1)
    };
    let y = Axis::over(y, lines.iter().flat_map(shown));
    let frame = Frame { x, y, height: HEIGHT };
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    html! {
        figure.chart {
            figcaption { (title) }
            (frame.draw(title, html! {
                // An inner picture, which cuts off what is outside of it.
                svg x=(LEFT) y=(TOP) width=(width) height=(height) viewBox={ (LEFT) " " (TOP) " " (width) " " (height) } {
                    @for line in lines {
                        @if line.points.len() > 1 {
                            polyline class=(line.look.class()) points=(frame.path(&line.points)) {}
                        } @else {
                            @for point in &line.points {
                                @let (cx, cy) = frame.at(*point);
                                circle class=(line.look.class()) cx=(cx) cy=(cy) r="3" {}
                            }
                        }
                    }
                }
            }))
            (legend(lines))
        }
    }
}

fn legend(lines: &[Line]) -> Markup {
    let mut shown: Vec<(&str, Look)> = Vec::new();
    for line in lines {
        if !shown.iter().any(|(name, _)| *name == line.name) {
            shown.push((&line.name, line.look));
        }
    }
    // The bold lines are drawn last, on top of the others, but named first.
    shown.sort_by_key(|(_, look)| !matches!(look, Look::Strong(_)));
    html! {
        ul.legend {
            @for (name, look) in shown {
                li {
                    svg width="26" height="10" viewBox="0 0 26 10" aria-hidden="true" {
                        line class=(look.class()) x1="1" y1="5" x2="25" y2="5" {}
                    }
                    (name)
                }
            }
        }
    }
}

/// Points in a square of two like axes, with the diagonal.
pub fn scatter(title: &str, x: &str, y: &str, dots: &[Dot]) -> Markup {
    let values = || dots.iter().flat_map(|dot| [dot.at.0, dot.at.1]);
    let (x, y) = (Axis::over(x, values()), Axis::over(y, values()));
    let ends = [(x.low(), x.low()), (x.ticks[x.ticks.len() - 1], x.ticks[x.ticks.len() - 1])];
    // As high as wide inside.
    let frame = Frame { x, y, height: WIDTH - LEFT - RIGHT + TOP + BOTTOM };
    html! {
        figure.chart {
            figcaption { (title) }
            (frame.draw(title, html! {
                polyline class="line reference" points=(frame.path(&ends)) {}
                @for dot in dots {
                    @let (cx, cy) = frame.at(dot.at);
                    circle.dot cx=(cx) cy=(cy) r="4" { title { (dot.title) } }
                }
            }))
        }
    }
}

struct Frame {
    x: Axis,
    y: Axis,
    height: f64,
}

impl Frame {
    fn at(&self, point: (f64, f64)) -> (String, String) {
        let x = LEFT + self.x.place(point.0) * (WIDTH - LEFT - RIGHT);
        let y = self.height - BOTTOM - self.y.place(point.1) * (self.height - TOP - BOTTOM);
        (format!("{x:.1}"), format!("{y:.1}"))
    }

    /// Leaves out what is not finite.
    fn path(&self, points: &[(f64, f64)]) -> String {
        let finite = points.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
        let places: Vec<String> = finite
            .map(|point| {
                let (x, y) = self.at(*point);
                format!("{x},{y}")
            })
            .collect();
        places.join(" ")
    }

    fn draw(&self, title: &str, content: Markup) -> Markup {
        let (x, y) = (&self.x, &self.y);
        let (right, bottom) = (WIDTH - RIGHT, self.height - BOTTOM);
        let middle = (TOP + bottom) / 2.0;
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (self.height) } role="img" aria-label=(title) {
                @for tick in &y.ticks {
                    @let at = self.at((x.low(), *tick)).1;
                    line.grid x1=(LEFT) x2=(right) y1=(at) y2=(at) {}
                    text x=(LEFT - 6.0) y=(at) dy="0.32em" text-anchor="end" { (y.text(*tick)) }
                }
                @for tick in &x.ticks {
                    @let at = self.at((*tick, y.low())).0;
                    line.grid x1=(at) x2=(at) y1=(TOP) y2=(bottom) {}
                    text x=(at) y=(bottom + 16.0) text-anchor="middle" { (x.text(*tick)) }
                }
                line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                line.axis x1=(LEFT) x2=(LEFT) y1=(TOP) y2=(bottom) {}
                text.label x=((LEFT + right) / 2.0) y=(self.height - 8.0) text-anchor="middle" { (x.label) }
                text.label x="13" y=(middle) text-anchor="middle" transform={ "rotate(-90 13 " (middle) ")" } {
                    (y.label)
                }
                (content)
            }
        }
    }
}

/// A row of [`intervals`].
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalRow {
    pub name: String,
    /// In the strong colour.
    pub strong: bool,
    pub mean: f64,
    pub bounds: [f64; 2],
    /// A small tick each.
    pub parts: Vec<f64>,
}

/// Means with their intervals, one below the other, with a line through `reference`.
pub fn intervals(title: &str, label: &str, rows: &[IntervalRow], reference: Option<f64>) -> Markup {
    const ROW: f64 = 24.0;
    const NAMES: f64 = 216.0;
    let values = rows.iter().flat_map(|row| row.bounds.into_iter().chain(row.parts.iter().copied()));
    let axis = Axis::over(label, values);
    let at = |value: f64| format!("{:.1}", NAMES + axis.place(value) * (WIDTH - NAMES - 2.0 * RIGHT));
    let bottom = TOP + ROW * rows.len() as f64;
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox={ "0 0 " (WIDTH) " " (bottom + BOTTOM) } role="img" aria-label=(title) {
                @for (index, tick) in axis.ticks.iter().enumerate() {
                    line.grid x1=(at(*tick)) x2=(at(*tick)) y1=(TOP) y2=(bottom) {}
                    @if index % 2 == 0 || axis.ticks.len() < 7 {
                        text x=(at(*tick)) y=(bottom + 16.0) text-anchor="middle" { (axis.text(*tick)) }
                    }
                }
                @if let Some(reference) = reference {
                    line.line.reference x1=(at(reference)) x2=(at(reference)) y1=(TOP) y2=(bottom) {}
                }
                @for (index, row) in rows.iter().enumerate() {
                    @let y = TOP + ROW * (index as f64 + 0.5);
                    @let colour = if row.strong { "line strong c1" } else { "line c0" };
                    text x=(NAMES - 8.0) y=(y) dy="0.32em" text-anchor="end" { (shortened(&row.name, 28)) title { (row.name) } }
                    line class=(colour) x1=(at(row.bounds[0])) x2=(at(row.bounds[1])) y1=(y) y2=(y) {}
                    @for part in &row.parts {
                        line class=(colour) x1=(at(*part)) x2=(at(*part)) y1=(y - 4.0) y2=(y + 4.0) {}
                    }
                    circle.dot.strong[row.strong] cx=(at(row.mean)) cy=(y) r="4.5" { title { (row.name) " " (format!("{:.4}", row.mean)) } }
                }
                text.label x=((NAMES + WIDTH) / 2.0) y=(bottom + 36.0) text-anchor="middle" { (axis.label) }
            }
        }
    }
}

/// The first of `text`, with `…` where more was.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(low: f64, high: f64) -> Vec<String> {
        let axis = Axis::over("", [low, high].into_iter());
        axis.ticks.iter().map(|tick| axis.text(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        assert_eq!(texts(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(-0.3, 0.31), ["−0.4", "−0.2", "0.0", "0.2", "0.4"]);
        assert_eq!(texts(0.0, 1830.0), ["0", "500", "1000", "1500", "2000"]);
        assert_eq!(texts(0.912, 0.93), ["0.910", "0.915", "0.920", "0.925", "0.930"]);
        for (low, high) in [(0.5, 0.5), (0.0, 0.0), (f64::NAN, f64::INFINITY), (1e-7, 1.0)] {
            let axis = Axis::over("", [low, high].into_iter());
            assert!(axis.ticks.len() > 1 && axis.ticks.len() < 13, "{axis:?}");
            let outside = |value: f64| value.is_finite() && !(0.0..=1.0).contains(&axis.place(value));
            assert!(!outside(low) && !outside(high), "{axis:?}");
        }
    }

    #[test]
    fn points_are_placed_within_the_frame() {
        let line = Line {
            name: "a<b".into(),
            look: Look::Plain(0),
            points: vec![(0.0, 0.0), (10.0, f64::NAN), (10.0, 1.0)],
        };
        let text = lines("T", "steps", "Dice", &[line.clone(), line]).into_string();
        // The corners of the plot: the low values left and below, the high ones right and above.
        assert!(text.contains("points=\"56.0,256.0 460.0,12.0\""), "{text}");
        assert_eq!(text.matches("a&lt;b").count(), 1, "one entry in the legend: {text}");
        let dot = Dot { at: (0.0, 1.0), title: "x".into() };
        let text = scatter("T", "x", "y", &[dot, Dot { at: (1.0, 0.0), title: "y".into() }]).into_string();
        assert!(text.contains("cx=\"56.0\" cy=\"12.0\""), "{text}");
    }

    #[test]
    fn a_steep_start_is_cut_off() {
        let line = Line {
            name: "a".into(),
            look: Look::Plain(0),
            points: vec![(0.0, 0.0), (5.0, 0.8), (20.0, 0.9)],
        };
        let text = later_lines("T", "x", "y", &[line]).into_string();
        assert!(text.contains(">0.80<") && text.contains(">0.90<") && !text.contains(">0.0<"), "{text}");
    }

    /// A baseline of one training beside a student of several.
    #[test]
    fn a_line_that_ends_early_is_seen_where_it_ends() {
        let line =
            |points: &[(f64, f64)]| Line { name: "a".into(), look: Look::Plain(0), points: points.to_vec() };
        let short = line(&[(1.0, 0.1), (4.0, 0.55)]);
        let long = line(&[(5.0, 0.8), (20.0, 0.9)]);
        let text = later_lines("T", "x", "y", &[short, long]).into_string();
        assert!(text.contains(">0.5<") && !text.contains(">0.1<"), "{text}");
    }

    #[test]
    fn no_points_make_no_broken_chart() {
        let text = lines("T", "x", "y", &[]).into_string() + &scatter("T", "x", "y", &[]).into_string();
        let text = text + &intervals("T", "x", &[], None).into_string();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
