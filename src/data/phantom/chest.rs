//! One frontal chest film, front to back as an X-ray adds it up.
//!
//! Brightness stands for what absorbs: bone and heart bright, air dark. The
//! patient's left side is on the right of the film.

use rand::{Rng, RngExt};

use super::super::augment::normal;
use super::shapes::{Hills, Point, bell, between, chance, depth, lerp, ramp, smooth, to_line, to_segment};

/// Share of films with a pneumothorax.
const POSITIVE: f32 = 0.6;

/// A drawn film.
pub struct Film {
    /// `[size, size]`, 8-bit grey.
    pub pixels: Vec<u8>,
    /// `[size, size]`, 255 where there is a pneumothorax, else 0.
    pub mask: Vec<u8>,
}

/// Draws a film of `size` × `size` pixels.
pub fn draw(size: usize, rng: &mut impl Rng) -> Film {
    let body = Body::new(rng);
    let view = View::new(rng);
    let mut absorbed = vec![0.0f32; size * size];
    let mut mask = vec![0u8; size * size];
    let mut grain = Vec::with_capacity(size * size);
    for (i, value) in absorbed.iter_mut().enumerate() {
        let on_film = ((i % size) as f32 + 0.5, (i / size) as f32 + 0.5);
        let p = view.to_body((on_film.0 / size as f32, on_film.1 / size as f32));
        let (brightness, ill) = body.at(p, 1.0 / size as f32);
        *value = brightness;
        mask[i] = if ill { 255 } else { 0 };
        grain.push(normal(rng));
    }
    let pixels = view.expose(&blurred(&absorbed, size, view.blur), &grain, size);
    Film { pixels, mask }
}

/// How the patient stands and how the film is exposed.
struct View {
    sin: f32,
    cos: f32,
    zoom: (f32, f32),
    shift: Point,
    gain: f32,
    offset: f32,
    gamma: f32,
    tilt: Point,
    noise: f32,
    /// Share of a pixel's neighbours in it.
    blur: f32,
    letter: Option<Point>,
}

impl View {
    fn new(rng: &mut impl Rng) -> View {
        let angle = between(rng, -0.06, 0.06);
        let zoom = between(rng, 1.0, 1.16);
        View {
            sin: angle.sin(),
            cos: angle.cos(),
            zoom: (zoom * between(rng, 0.95, 1.05), zoom * between(rng, 0.95, 1.05)),
            shift: (between(rng, -0.035, 0.035), between(rng, -0.035, 0.035)),
            gain: between(rng, 0.85, 1.1),
            offset: between(rng, -0.04, 0.05),
            gamma: between(rng, 0.8, 1.3),
            tilt: (between(rng, -0.08, 0.08), between(rng, -0.06, 0.06)),
            noise: between(rng, 0.008, 0.028),
            blur: between(rng, 0.0, 0.35),
            letter: chance(rng, 0.6).then(|| (between(rng, 0.86, 0.92), between(rng, 0.05, 0.12))),
        }
    }

    fn to_body(&self, (x, y): Point) -> Point {
        let (dx, dy) = (x - 0.5 - self.shift.0, y - 0.5 - self.shift.1);
        let (u, v) = (self.cos * dx + self.sin * dy, self.cos * dy - self.sin * dx);
        (0.5 + u / self.zoom.0, 0.5 + v / self.zoom.1)
    }

    fn expose(&self, absorbed: &[f32], grain: &[f32], size: usize) -> Vec<u8> {
        let pixel = |(i, (&value, &grain)): (usize, (&f32, &f32))| {
            let (x, y) = ((i % size) as f32 / size as f32, (i / size) as f32 / size as f32);
            let light = 1.0 + self.tilt.0 * (x - 0.5) + self.tilt.1 * (y - 0.5);
            let clean = (value * light).max(0.0).powf(self.gamma) * self.gain + self.offset;
            // Where little gets through the film is noisier.
            let noisy = clean + grain * self.noise * (0.6 + 0.8 * clean.clamp(0.0, 1.0));
            let marked = if self.on_letter((x, y)) { 0.95 } else { noisy };
            (marked.clamp(0.0, 1.0) * 255.0).round() as u8
        };
        absorbed.iter().zip(grain).enumerate().map(pixel).collect()
    }

    /// The lead letter L that marks the left side.
    fn on_letter(&self, p: Point) -> bool {
        self.letter.is_some_and(|(x, y)| {
            let (upright, foot) = (to_segment(p, (x, y), (x, y + 0.05)), (x, y + 0.05));
            upright.min(to_segment(p, foot, (x + 0.028, y + 0.05))) < 0.006
        })
    }
}

/// Everything within the patient.
struct Body {
    shoulder: f32,
    width: f32,
    waist: f32,
    spine: f32,
    lungs: [Lung; 2],
    mediastinum: Vec<Point>,
    heart: (Point, f32, f32, f32),
    ribs: Vec<Rib>,
    rib_strength: f32,
    clavicles: [Vec<Point>; 2],
    scapulae: [Vec<Point>; 2],
    soft: Hills,
    haze: Hills,
    lung_air: f32,
    fold: Option<(Vec<Point>, f32)>,
    wires: Vec<Vec<Point>>,
    bubble: Option<(Point, f32)>,
    breast: Option<(f32, f32)>,
}

struct Lung {
    /// −1 on the left of the film, 1 on the right.
    side: f32,
    outline: Vec<Point>,
    hilum: Point,
    vessels: Vec<Vessel>,
    collapse: Option<Collapse>,
}

/// The lung has come off the chest wall.
struct Collapse {
    /// The edge of the lung that is left, along the wall.
    pleura: Vec<Point>,
    /// The lung that is left.
    outline: Vec<Point>,
    line: f32,
    dark: f32,
}

struct Vessel {
    from: Point,
    to: Point,
    width: f32,
    strength: f32,
}

struct Rib {
    line: Vec<Point>,
    low: Point,
    high: Point,
    width: f32,
    strength: f32,
}

impl Body {
    fn new(rng: &mut impl Rng) -> Body {
        let size = between(rng, 0.93, 1.04);
        let apex = between(rng, 0.115, 0.155);
        let base = between(rng, 0.70, 0.80);
        let reach = 0.365 * size;
        let mut lungs = [-1.0, 1.0].map(|side| Lung::new(rng, side, apex, base, reach));
        if chance(rng, POSITIVE) {
            let side = usize::from(chance(rng, 0.5));
            lungs[side].deflate(rng);
        }
        let heart_width = between(rng, 0.13, 0.175);
        Body {
            shoulder: between(rng, 0.03, 0.08),
            width: reach + between(rng, 0.075, 0.115),
            waist: between(rng, 0.0, 0.03),
            spine: between(rng, 0.15, 0.22),
            mediastinum: mediastinum(rng),
            heart: (
                (0.5 + between(rng, 0.035, 0.07), base - between(rng, 0.09, 0.12)),
                heart_width,
                heart_width * between(rng, 0.75, 0.95),
                between(rng, 0.3, 0.6),
            ),
            ribs: ribs(rng, apex, base, reach),
            rib_strength: between(rng, 0.6, 1.25),
            clavicles: [-1.0, 1.0].map(|side| clavicle(rng, side, apex)),
            scapulae: [-1.0, 1.0].map(|side| scapula(rng, side, reach)),
            soft: Hills::new(rng, 3, 3, 0.5),
            haze: Hills::new(rng, 10, 4, 0.65),
            lung_air: between(rng, 0.22, 0.32),
            fold: chance(rng, 0.35).then(|| fold(rng, reach)),
            wires: if chance(rng, 0.25) { vec![wire(rng), wire(rng)] } else { Vec::new() },
            bubble: chance(rng, 0.6).then(|| {
                ((0.5 + between(rng, 0.14, 0.2), base + between(rng, 0.08, 0.11)), between(rng, 0.03, 0.06))
            }),
            breast: chance(rng, 0.4).then(|| (base - between(rng, 0.02, 0.1), between(rng, 0.03, 0.07))),
            lungs,
        }
    }

    /// Brightness at `p` and whether the pneumothorax is there. `pixel` is the side of a pixel.
    fn at(&self, p: Point, pixel: f32) -> (f32, bool) {
        let (x, y) = p;
        let off = (x - 0.5).abs();
        // Neck, then shoulders sloping out, then the chest wall.
        let slope = ramp(self.shoulder, self.shoulder + 0.17, y);
        let edge = lerp(0.12, self.width, slope.sqrt()) - self.waist * ramp(0.35, 0.6, y);
        let within = ramp(-0.006, 0.006, edge - off);
        if within == 0.0 {
            return (0.02, false);
        }
        // Rays near the side go through less of the body.
        let across = (off / edge).min(1.0);
        let thick = (1.0 - across.powi(4)).sqrt();
        let belly = ramp(0.66, 0.86, y);
        let mut value = 0.30 + 0.27 * thick + 0.10 * belly * thick + 0.05 * self.soft.at(p);
        let mut ill = false;
        for lung in &self.lungs {
            if lung.side * (x - 0.5) < 0.0 {
                continue;
            }
            let inside = depth(p, &lung.outline);
            let share = ramp(-0.008, 0.010, inside);
            if share == 0.0 {
                continue;
            }
            let (air, is_ill) = self.air(lung, p, inside, pixel);
            value = lerp(value, air, share);
            ill |= is_ill;
        }
        value = self.middle(p, value);
        let bone = self.bone(p, pixel, off) * (1.0 - 0.75 * belly);
        value += bone;
        if let Some((line, strength)) = &self.fold {
            // A skin fold is bright up to its edge and dark beyond, without a line.
            let d = to_line(p, line);
            if d < 0.05 {
                let outward = side_of(p, line);
                value += strength * if outward { -bell(d, 0.008) } else { bell(d, 0.02) };
            }
        }
        if let Some((low, strength)) = self.breast {
            let d = ((off - 0.2) / 0.17).powi(2) + ((y - low + 0.02) / 0.14).powi(2);
            value += strength * ramp(1.1, 0.8, d) * ramp(low - 0.12, low + 0.08, y);
        }
        for wire in &self.wires {
            value += 0.35 * bell(to_line(p, wire), 0.0025_f32.max(0.4 * pixel));
        }
        (lerp(0.02, value.max(0.03), within), ill)
    }

    /// Brightness within a lung, and whether `p` is in the pneumothorax.
    fn air(&self, lung: &Lung, p: Point, inside: f32, pixel: f32) -> (f32, bool) {
        let toward_hilum = 1.0 - ((p.0 - lung.hilum.0).hypot((p.1 - lung.hilum.1) * 0.8) / 0.3).min(1.0);
        // The chest wall is seen edge-on near the outline and adds brightness there.
        let wall = 0.10 * bell(inside.max(0.0), 0.022);
        let plain = self.lung_air + wall + 0.02 * self.soft.at((p.1, p.0));
        let markings = 0.035 + 0.09 * toward_hilum + 0.035 * self.haze.at(p) + lung.markings(p, pixel);
        let Some(collapse) = &lung.collapse else { return (plain + markings, false) };
        let left = depth(p, &collapse.outline);
        let lung_share = ramp(-0.004, 0.004, left);
        let line = collapse.line * bell(to_line(p, &collapse.pleura), 0.0035_f32.max(0.55 * pixel));
        // Less air in what is left of the lung makes it denser.
        let air = lerp(-collapse.dark, markings + 0.02, lung_share);
        (plain + air + line, inside > 0.0 && left <= 0.0)
    }

    /// `value` with the heart, the great vessels, the spine and the windpipe.
    fn middle(&self, (x, y): Point, value: f32) -> f32 {
        // Blood hides the lung behind it rather than adding to it; below the lungs all is alike.
        let vessels = ramp(-0.016, 0.024, depth((x, y), &self.mediastinum));
        let ((cx, cy), wide, high, tilt) = self.heart;
        let (dx, dy) = (x - cx, y - cy);
        let (u, v) = (dx * tilt.cos() + dy * tilt.sin(), dy * tilt.cos() - dx * tilt.sin());
        let r = (u / wide).hypot(v / high);
        let heart = ramp(1.08, 0.88, r);
        let blood = (0.60 + 0.04 * heart * vessels + 0.04 * self.soft.at((x, y))).max(value);
        let share = 1.0 - (1.0 - 0.9 * vessels) * (1.0 - 0.95 * heart);
        let column = bell(x - 0.5, 0.030) * (0.75 + 0.25 * (y * 68.0).sin());
        let trachea = bell(x - 0.497, 0.011) * ramp(0.34, 0.27, y) * ramp(-0.1, 0.08, y);
        let stomach = self
            .bubble
            .map_or(0.0, |((bx, by), r)| -0.12 * ramp(1.25, 0.6, ((x - bx) / (r * 1.3)).hypot((y - by) / r)));
        lerp(value, blood, share) + self.spine * column * 0.5 - 0.10 * trachea + stomach
    }

    fn bone(&self, p: Point, pixel: f32, off: f32) -> f32 {
        let mut sum = 0.0;
        for rib in &self.ribs {
            if p.0 < rib.low.0 || p.0 > rib.high.0 || p.1 < rib.low.1 || p.1 > rib.high.1 {
                continue;
            }
            let d = to_line(p, &rib.line) / rib.width;
            // A tube: its rims are brighter than its middle.
            let rim = bell(d - 0.85, 0.28_f32.max(0.5 * pixel / rib.width));
            sum += rib.strength * (0.75 * ramp(1.25, 0.8, d) + 0.35 * rim);
        }
        // Through the thick middle of the body ribs hardly show.
        let mut value = self.rib_strength * sum * (0.45 + 0.55 * ramp(0.06, 0.13, off));
        for line in &self.clavicles {
            let d = to_line(p, line) / 0.0155;
            value += 0.13 * ramp(1.25, 0.8, d) + 0.05 * bell(d - 0.9, 0.25);
        }
        for outline in &self.scapulae {
            let d = depth(p, outline);
            value += 0.055 * ramp(-0.008, 0.008, d) + 0.03 * bell(d, 0.007);
        }
        value
    }
}

impl Lung {
    fn new(rng: &mut impl Rng, side: f32, apex: f32, base: f32, reach: f32) -> Lung {
        let mut near = |v: f32, by: f32| v + between(rng, -by, by);
        let right = side < 0.0;
        // The liver pushes the lung on the left of the film up.
        let base = near(if right { base - 0.02 } else { base + 0.005 }, 0.012);
        let (reach, apex) = (near(reach, 0.012), near(apex, 0.008));
        let heart = if right { 0.085 } else { 0.125 };
        // Up along the middle, over the apex, down the chest wall, back along the diaphragm.
        let knots = [
            (near(heart, 0.015), base - 0.005),
            (near(heart - 0.01, 0.012), base - 0.13),
            (near(0.07, 0.006), base - 0.26),
            (near(0.062, 0.006), apex + 0.16),
            (near(0.058, 0.005), apex + 0.07),
            (near(0.088, 0.006), apex + 0.012),
            (near(0.14, 0.006), apex),
            (near(0.20, 0.008), apex + 0.035),
            (near(0.26, 0.010), apex + 0.105),
            (near(reach - 0.055, 0.006), apex + 0.20),
            (near(reach - 0.018, 0.005), apex + 0.33),
            (near(reach, 0.004), apex + 0.47),
            (near(reach + 0.008, 0.004), base - 0.03),
            (near(reach + 0.002, 0.004), base + 0.075),
            (near(reach - 0.06, 0.006), base + 0.015),
            (near(reach - 0.13, 0.008), base - 0.035),
            (near(reach - 0.20, 0.008), base - 0.04),
        ];
        let mirror = |(x, y): Point| (0.5 + side * x, y);
        let outline = smooth(&knots.map(mirror), 6);
        let hilum = mirror((0.10, apex + 0.30));
        let mut lung = Lung { side, outline, hilum, vessels: Vec::new(), collapse: None };
        let trunks = 9 + (rng.random::<f32>() * 5.0) as usize;
        let density = between(rng, 0.8, 1.3);
        for i in 0..trunks {
            let turn = (i as f32 + between(rng, 0.0, 1.0)) / trunks as f32;
            // From straight up over outward to down.
            let angle = lerp(-1.45, 1.35, turn);
            let start = (hilum.0, hilum.1 + between(rng, -0.04, 0.06));
            let width = between(rng, 0.0055, 0.0085);
            lung.grow(rng, start, angle, width, density, 0);
        }
        lung
    }

    /// A vessel that bends, thins out and branches. `angle` is up or down from outward, in radians.
    fn grow(&mut self, rng: &mut impl Rng, start: Point, angle: f32, width: f32, density: f32, level: usize) {
        let (mut from, mut angle, mut width) = (start, angle, width);
        let steps = 9 - 2 * level.min(3);
        for step in 0..steps {
            let length = between(rng, 0.018, 0.03);
            let to = (from.0 + self.side * length * angle.cos(), from.1 + length * angle.sin());
            let strength = density * (0.05 + 7.0 * width);
            self.vessels.push(Vessel { from, to, width, strength });
            from = to;
            angle += between(rng, -0.22, 0.22);
            width *= 0.87;
            if level < 3 && step > 0 && chance(rng, 0.38) {
                let turn = between(rng, 0.35, 0.8) * if chance(rng, 0.5) { 1.0 } else { -1.0 };
                self.grow(rng, from, angle + turn, width * 0.8, density, level + 1);
            }
        }
    }

    fn markings(&self, p: Point, pixel: f32) -> f32 {
        let mut most = 0.0f32;
        for v in &self.vessels {
            // Thinner than a pixel a vessel gets fainter instead.
            let width = v.width.max(0.45 * pixel);
            let reach = 3.0 * width;
            let near = |p: f32, a: f32, b: f32| p > a.min(b) - reach && p < a.max(b) + reach;
            if near(p.1, v.from.1, v.to.1) && near(p.0, v.from.0, v.to.0) {
                let d = to_segment(p, v.from, v.to);
                if d < reach {
                    most = most.max(v.strength * (v.width / width) * bell(d, width));
                }
            }
        }
        most
    }

    /// Lets air in along a stretch of the chest wall.
    fn deflate(&mut self, rng: &mut impl Rng) {
        // The wall within the outline: from above the medial apex to the corner at the diaphragm.
        let wall = 4 * 6..13 * 6 + 1;
        let count = wall.len() as f32;
        let apical = chance(rng, 0.7);
        let centre = if apical { between(rng, 0.22, 0.42) } else { between(rng, 0.5, 0.72) };
        let spread = between(rng, 0.17, 0.34);
        // Squared, so that small ones are more common.
        let size = lerp(0.13, 0.42, rng.random::<f32>().powi(2));
        let (wave, phase) = (between(rng, 5.0, 11.0), between(rng, 0.0, 6.0));
        let target = (self.hilum.0, self.hilum.1 + between(rng, 0.0, 0.12));
        let mut outline = self.outline.clone();
        let mut pleura = Vec::new();
        for (i, p) in outline[wall].iter_mut().enumerate() {
            let t = i as f32 / (count - 1.0);
            // 0 at both ends, so the crescent closes.
            let ends = ramp(0.0, 0.15, t) * ramp(1.0, 0.85, t);
            let pull = size * ends * ((bell(t - centre, spread) - 0.12) / 0.88).max(0.0);
            let pull = pull * (1.0 + 0.07 * (wave * t + phase).sin());
            *p = (lerp(p.0, target.0, pull), lerp(p.1, target.1, pull));
            if pull > 0.02 {
                pleura.push(*p);
            }
        }
        let (line, dark) = (between(rng, 0.06, 0.13), between(rng, 0.015, 0.05));
        self.collapse = Some(Collapse { pleura, outline, line, dark });
    }
}

/// Great vessels above the heart, with the knob of the aorta on the right of the film.
fn mediastinum(rng: &mut impl Rng) -> Vec<Point> {
    let mut near = |v: f32| 0.5 + v + between(rng, -0.007, 0.007);
    let (top, bottom) = (-0.3, 1.3);
    let left = [(near(-0.05), bottom), (near(-0.055), 0.6), (near(-0.05), 0.4), (near(-0.045), 0.22)];
    let right = [
        (near(0.04), 0.2),
        (near(0.062), 0.27),
        (near(0.072), 0.31),
        (near(0.055), 0.37),
        (near(0.07), 0.43),
        (near(0.07), 0.6),
        (near(0.05), bottom),
    ];
    let mut knots = left.to_vec();
    knots.extend([(near(-0.04), top), (near(0.04), top)]);
    knots.extend(right);
    smooth(&knots, 5)
}

fn ribs(rng: &mut impl Rng, apex: f32, base: f32, reach: f32) -> Vec<Rib> {
    let mut ribs = Vec::new();
    let gap = (base - apex) / between(rng, 8.0, 9.0);
    let sag = between(rng, 0.8, 1.2);
    for side in [-1.0, 1.0] {
        for k in 0..11 {
            let y = apex + 0.005 + gap * k as f32 + between(rng, -0.004, 0.004);
            // The chest widens from the apex down.
            let out = reach * (0.55 + 0.45 * ramp(-0.5, 4.0, k as f32)) + 0.012;
            let drop = sag * lerp(0.05, 0.13, (k as f32 / 8.0).min(1.0));
            let knot = |(x, dy): (f32, f32)| (0.5 + side * out * x, y + dy * drop);
            // Out from the spine at the back, slightly up and then down to the side.
            let back = [(0.09, 0.0), (0.35, -0.22), (0.62, 0.05), (0.86, 0.62), (1.0, 1.35)];
            ribs.push(Rib::new(smooth(&back.map(knot), 8), 0.0125, 0.068));
            if (1..8).contains(&k) {
                // And at the front down from the side to the middle, fainter.
                let front = [(1.0, 1.35), (0.9, 2.1), (0.72, 2.75), (0.52, 3.2), (0.4, 3.4)];
                ribs.push(Rib::new(smooth(&front.map(knot), 8), 0.0135, 0.036));
            }
        }
    }
    ribs
}

impl Rib {
    fn new(line: Vec<Point>, width: f32, strength: f32) -> Rib {
        let margin = 2.0 * width;
        let (mut low, mut high) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
        for &(x, y) in &line {
            low = (low.0.min(x - margin), low.1.min(y - margin));
            high = (high.0.max(x + margin), high.1.max(y + margin));
        }
        Rib { line, low, high, width, strength }
    }
}

fn clavicle(rng: &mut impl Rng, side: f32, apex: f32) -> Vec<Point> {
    let lift = between(rng, -0.03, 0.025);
    let y = apex + between(rng, 0.055, 0.075);
    let knots = [(0.035, 0.02), (0.10, 0.005), (0.19, -0.015), (0.27, -0.02), (0.36, -0.05)];
    smooth(&knots.map(|(x, dy)| (0.5 + side * x, y + dy + lift * x / 0.36)), 8)
}

fn scapula(rng: &mut impl Rng, side: f32, reach: f32) -> Vec<Point> {
    let out = reach - between(rng, 0.03, 0.09);
    let top = between(rng, 0.14, 0.19);
    let knots = [
        (0.0, 0.02),
        (0.02, 0.12),
        (0.06, 0.26),
        (0.085, 0.31),
        (0.11, 0.24),
        (0.13, 0.08),
        (0.1, 0.0),
        (0.0, 0.02),
    ];
    smooth(&knots.map(|(x, y)| (0.5 + side * (out + x), top + y)), 6)
}

/// A skin fold: it mimics a pleural line, but vessels go on beyond it.
fn fold(rng: &mut impl Rng, reach: f32) -> (Vec<Point>, f32) {
    let side = if chance(rng, 0.5) { 1.0 } else { -1.0 };
    let (x, y) = (reach - between(rng, 0.05, 0.16), between(rng, 0.25, 0.4));
    let knots = [(x - 0.03, y), (x, y + 0.12), (x + between(rng, -0.02, 0.02), y + between(rng, 0.25, 0.35))];
    (smooth(&knots.map(|(x, y)| (0.5 + side * x, y)), 8), between(rng, 0.03, 0.06))
}

/// Whether `p` is on the outer side of a line that runs down the film.
fn side_of(p: Point, line: &[Point]) -> bool {
    let nearest = line.iter().min_by(|a, b| (a.1 - p.1).abs().total_cmp(&(b.1 - p.1).abs()));
    nearest.is_some_and(|q| (p.0 - 0.5).abs() > (q.0 - 0.5).abs())
}

/// A monitoring wire that hangs over the chest.
fn wire(rng: &mut impl Rng) -> Vec<Point> {
    let mut x = between(rng, 0.2, 0.8);
    let knots: Vec<Point> = (0..5)
        .map(|i| {
            x += between(rng, -0.12, 0.12);
            (x, i as f32 * 0.22 + between(rng, 0.0, 0.1))
        })
        .collect();
    smooth(&knots, 8)
}

/// Mixes each pixel with its four neighbours: `share` of the result is theirs.
fn blurred(pixels: &[f32], size: usize, share: f32) -> Vec<f32> {
    let at = |x: usize, y: usize| pixels[y.min(size - 1) * size + x.min(size - 1)];
    (0..size * size)
        .map(|i| {
            let (x, y) = (i % size, i / size);
            let around =
                at(x.saturating_sub(1), y) + at(x + 1, y) + at(x, y.saturating_sub(1)) + at(x, y + 1);
            lerp(at(x, y), around / 4.0, share)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, rng};

    #[test]
    fn a_film_looks_alike_at_any_size() {
        let film = |size| draw(size, &mut rng(1, Purpose::Phantom, 3));
        let share = |f: &Film| f.mask.iter().filter(|&&v| v == 255).count() as f64 / f.mask.len() as f64;
        let mean = |f: &Film| f.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / f.pixels.len() as f64;
        let (small, large) = (film(48), film(96));
        assert!((share(&small) - share(&large)).abs() < 0.01);
        assert!((mean(&small) - mean(&large)).abs() < 3.0);
    }
}
