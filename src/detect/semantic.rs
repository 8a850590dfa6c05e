//! How far what a template means is from all that was known when learning ended.
//!
//! Vectors of the templates known then are clustered once by k-means (Lloyd, IEEE Trans. Inf. Theory 28, 1982), begun by k-means++ (Arthur and
//! Vassilvitskii, SODA 2007) with a fixed seed. A vector is as far as one less its cosine to the nearest centroid; from
//!
//! > max([`FLOOR`], median + 3 · 1.4826 · MAD)
//!
//! of those that were clustered on it is odd (median and median absolute deviation: Rousseeuw and Croux, JASA 88, 1993). Nothing is learned after that: what is fitted
//! again is another [`Frozen`].
//!
//! How odd a template is was said once, by who has its vector, as [`Oddness`]: at the threshold, three standard deviations from the usual, ln of one in 740, and more in
//! proportion. It is said of a template; an event of one that was seen n times says ln n less, since any of them may be the one.
//!
//! The same vectors in the same order give the same bits on every machine: sums have a fixed order and there is no libm.
//!
//! # Bytes
//! ```text
//! dimensions u32 | centroids u32 | templates u32 | median f32 | threshold f32 | (dimensions × f32) × centroids
//! ```

use super::{Input, StateError, StateReader, logarithm};
use crate::arithmetic::{dot, next_random};

/// Centroids at most.
pub const MOST_CENTROIDS: usize = 32;

/// Vectors for each centroid at least: of as many centroids as vectors none is far.
const LEAST_EACH: usize = 4;

/// What is nearer than this is like something known, however alike all that is known may be.
pub const FLOOR: f32 = 0.3;

/// Median absolute deviations in a standard deviation, and how many of these are far.
const DEVIATION: f32 = 1.4826;
const FAR: f32 = 3.0;

/// −ln of how seldom something usual is three standard deviations from the middle, above it: what is said at the threshold.
const NATS_AT_THRESHOLD: f32 = 6.6;

/// Where all that is known is alike a hair is not far: the least distance between what is usual and what is far.
const LEAST_STEP: f32 = 0.05;

/// Rounds of k-means at most.
const ROUNDS: usize = 12;

const SEED: u64 = 0x006f_6464_6c69_6e65;

/// Longer vectors are none.
const MOST_DIMENSIONS: usize = 1 << 14;

/// How odd a template's meaning is, in steps of [`Oddness::STEP`] nats: four bits, so that the log can keep it and a replay scores the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddness(u8);

impl Oddness {
    /// Like what is known, or nobody looked.
    pub const NONE: Self = Self(0);

    /// Bits of [`Self::code`].
    pub const BITS: u32 = 4;

    /// Nats of a step.
    pub const STEP: f32 = 0.6;

    const MOST: u8 = (1 << Self::BITS) - 1;

    fn of(nats: f32) -> Self {
        // What is no number becomes 0, what is too much the most.
        Self(((nats / Self::STEP + 0.5) as u8).min(Self::MOST))
    }

    /// Nothing to say.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What it says of the template, nats.
    pub fn nats(self) -> f32 {
        f32::from(self.0) * Self::STEP
    }

    /// As the log keeps it.
    #[inline]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The inverse of [`Self::code`]; of other bits the lowest count.
    #[inline]
    pub const fn from_code(code: u8) -> Self {
        Self(code & Self::MOST)
    }
}

/// What an event of a template with that oddness says, `seen` of them by now, itself among them: nats.
#[cold]
pub(super) fn evidence(input: &Input, seen: f64) -> f32 {
    (input.oddness.nats() - logarithm::ln((seen as f32).clamp(1.0, f32::MAX))).max(0.0)
}

/// What was clustered, and the distance from which on something is far.
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    dimensions: usize,
    clusters: usize,
    /// Of each dimension a number for each centroid: a text's vector is mostly zeros, of which nothing is read. All centroids one after the other would not leave room for
    /// anything else in the first cache, each time a new template is looked at.
    columns: Vec<f32>,
    templates: u32,
    median: f32,
    threshold: f32,
}

impl Frozen {
    /// Clusters `vectors`, each of unit length and of as many finite numbers as the first; those without length, and others, are left out. `None` when none is left.
    pub fn fit(vectors: &[Vec<f32>]) -> Option<Self> {
        let dimensions = vectors.first()?.len();
        let is_usable = |vector: &&Vec<f32>| vector.len() == dimensions && dot(vector, vector) > 0.5;
        let vectors: Vec<&[f32]> = vectors.iter().filter(is_usable).map(Vec::as_slice).collect();
        let most = vectors.len().div_ceil(LEAST_EACH).min(MOST_CENTROIDS);
        let mut centroids = Centroids::spread(&vectors, most, dimensions);
        let mut nearest = centroids.assign(&vectors);
        for _ in 1..ROUNDS {
            centroids.centre(&vectors, &nearest);
            let again = centroids.assign(&vectors);
            if std::mem::replace(&mut nearest, again).iter().map(|(at, _)| at).eq(nearest.iter().map(|(at, _)| at)) {
                break;
            }
        }
        let mut distances: Vec<f32> = nearest.into_iter().map(|(_, distance)| distance).collect();
        let median = middle(&mut distances)?;
        let mut deviations: Vec<f32> = distances.iter().map(|distance| (distance - median).abs()).collect();
        let threshold = (median + FAR * DEVIATION * middle(&mut deviations)?).max(FLOOR);
        let templates = vectors.len() as u32;
        let (clusters, columns) = (centroids.count(), centroids.columns());
        Some(Self { dimensions, clusters, columns, templates, median, threshold })
    }

    /// Centroids there are.
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// Vectors that were clustered.
    pub fn templates(&self) -> u32 {
        self.templates
    }

    /// Of these, how far one in the middle is.
    pub fn median(&self) -> f32 {
        self.median
    }

    /// What is farther is odd.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.columns.capacity() * size_of::<f32>()
    }

    /// One less the cosine to the nearest centroid, 0 to 2; `None` for a vector of another length or without one.
    pub fn distance(&self, vector: &[f32]) -> Option<f32> {
        let length = dot(vector, vector);
        if vector.len() != self.dimensions || !length.is_finite() || length <= 0.5 {
            return None;
        }
        let mut cosines = [0.0f32; MOST_CENTROIDS];
        for (cell, column) in vector.iter().zip(self.columns.chunks_exact(self.clusters.max(1))) {
            if *cell != 0.0 {
                cosines.iter_mut().zip(column).for_each(|(cosine, other)| *cosine += cell * other);
            }
        }
        let nearest = cosines.into_iter().take(self.clusters).reduce(f32::max);
        nearest.map(|cosine| (1.0 - cosine).clamp(0.0, 2.0))
    }

    /// Centroids one after the other, as they are on disk.
    fn rows(&self) -> impl Iterator<Item = &f32> {
        (0..self.clusters).flat_map(|centroid| self.columns.iter().skip(centroid).step_by(self.clusters))
    }

    /// How odd a template of this vector is.
    pub fn oddness(&self, vector: &[f32]) -> Oddness {
        let Some(distance) = self.distance(vector).filter(|distance| *distance > self.threshold) else {
            return Oddness::NONE;
        };
        let step = (self.threshold - self.median).max(LEAST_STEP);
        Oddness::of(NATS_AT_THRESHOLD * (1.0 + (distance - self.threshold) / step))
    }

    /// Appends it, bit for bit.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        for number in [self.dimensions as u32, self.clusters() as u32, self.templates] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.median, self.threshold].iter().chain(self.rows()) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values.
    pub fn restore(from: &mut StateReader<'_>) -> Result<Self, StateError> {
        let what = "centroids of meanings";
        let dimensions = from.index(what, MOST_DIMENSIONS + 1)?;
        let clusters = from.index(what, MOST_CENTROIDS + 1)?;
        let templates = from.u32(what)?;
        let (median, threshold) = (from.f32(what)?, from.f32(what)?);
        let cells = (0..clusters * dimensions).map(|_| from.finite(what)).collect::<Result<_, _>>()?;
        let columns = Centroids { dimensions, cells }.columns();
        Ok(Self { dimensions, clusters, columns, templates, median, threshold })
    }
}

struct Centroids {
    dimensions: usize,
    cells: Vec<f32>,
}

impl Centroids {
    fn count(&self) -> usize {
        self.cells.len() / self.dimensions.max(1)
    }

    /// Turned over: of each dimension a number for each centroid.
    fn columns(&self) -> Vec<f32> {
        (0..self.dimensions).flat_map(|at| self.cells.iter().skip(at).step_by(self.dimensions).copied()).collect()
    }

    /// By k-means++: the first anywhere, each other one of the vectors with a chance as the square of how far it is from those before it. Fewer where all are taken.
    fn spread(vectors: &[&[f32]], most: usize, dimensions: usize) -> Self {
        let mut chosen = Self { dimensions, cells: Vec::with_capacity(most * dimensions) };
        let mut random = SEED;
        let mut far = vec![1.0f32; vectors.len()];
        for _ in 0..most {
            let Some(vector) = pick(&far, &mut random).and_then(|at| vectors.get(at)) else { break };
            chosen.cells.extend_from_slice(vector);
            for (far, other) in far.iter_mut().zip(vectors) {
                let distance = (1.0 - dot(vector, other)).max(0.0);
                // What is the same but for rounding is taken.
                let squared = if distance < 1e-5 { 0.0 } else { distance * distance };
                *far = far.min(squared);
            }
        }
        chosen
    }

    /// Of each vector the place of the nearest centroid, and how far it is.
    fn assign(&self, vectors: &[&[f32]]) -> Vec<(usize, f32)> {
        let nearest = |vector: &&[f32]| {
            let all = self.cells.chunks_exact(self.dimensions.max(1)).map(|centroid| dot(centroid, vector)).enumerate();
            let best = all.reduce(|best, other| if other.1 > best.1 { other } else { best });
            best.map_or((0, 1.0), |(at, cosine)| (at, (1.0 - cosine).clamp(0.0, 2.0)))
        };
        vectors.iter().map(nearest).collect()
    }

    /// Moves each to the middle of its vectors; one that has none stays.
    fn centre(&mut self, vectors: &[&[f32]], nearest: &[(usize, f32)]) {
        let mut sums = vec![0.0f32; self.cells.len()];
        for (vector, (at, _)) in vectors.iter().zip(nearest) {
            let sum = sums.get_mut(at * self.dimensions..(at + 1) * self.dimensions).unwrap_or_default();
            sum.iter_mut().zip(*vector).for_each(|(sum, cell)| *sum += cell);
        }
        let pairs = self.cells.chunks_exact_mut(self.dimensions.max(1)).zip(sums.chunks_exact(self.dimensions.max(1)));
        for (centroid, sum) in pairs {
            let length = dot(sum, sum).sqrt();
            if length > 1e-6 {
                centroid.iter_mut().zip(sum).for_each(|(cell, sum)| *cell = sum / length);
            }
        }
    }
}

/// A place with a chance as its weight; `None` when all weigh nothing.
fn pick(weights: &[f32], random: &mut u64) -> Option<usize> {
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let mut left = total * next(random);
    let mut last = None;
    for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = Some(at);
        left -= f64::from(*weight);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// In [0, 1).
fn next(state: &mut u64) -> f64 {
    (next_random(state) >> 11) as f64 / (1u64 << 53) as f64
}

/// The lower one of two in the middle.
fn middle(values: &mut [f32]) -> Option<f32> {
    let at = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(at, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSIONS: usize = 40;

    /// One of `families` directions, a little off it.
    fn vector(n: usize, families: usize) -> Vec<f32> {
        let mut vector = vec![0.0; DIMENSIONS];
        vector[n % families] = 1.0;
        vector[20 + n % 13] += 0.2 + 0.01 * (n % 7) as f32;
        unit(vector)
    }

    fn unit(mut vector: Vec<f32>) -> Vec<f32> {
        let length = vector.iter().map(|cell| cell * cell).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|cell| *cell /= length);
        vector
    }

    fn known(vectors: usize, families: usize) -> Vec<Vec<f32>> {
        (0..vectors).map(|n| vector(n, families)).collect()
    }

    fn elsewhere() -> Vec<f32> {
        let mut vector = vec![0.0; DIMENSIONS];
        vector[39] = 1.0;
        vector
    }

    #[test]
    fn what_is_like_nothing_known_is_odd_and_what_is_known_is_not() {
        let known = known(200, 12);
        let frozen = Frozen::fit(&known).unwrap();
        assert_eq!((frozen.clusters(), frozen.templates()), (MOST_CENTROIDS, 200));
        assert!(known.iter().all(|vector| frozen.oddness(vector).is_none()));
        let odd = frozen.oddness(&elsewhere());
        assert!(odd.nats() >= NATS_AT_THRESHOLD - Oddness::STEP, "{odd:?} {:?}", frozen.distance(&elsewhere()));
        assert!(frozen.threshold() >= FLOOR && frozen.median() < frozen.threshold());
    }

    #[test]
    fn with_few_templates_there_are_fewer_centroids_and_with_none_nothing() {
        for (vectors, clusters) in [(1, 1), (4, 1), (5, 2), (40, 10), (128, 32), (400, 32)] {
            assert_eq!(Frozen::fit(&known(vectors, 20)).unwrap().clusters(), clusters, "{vectors}");
        }
        assert_eq!(Frozen::fit(&known(100, 1).iter().map(|_| elsewhere()).collect::<Vec<_>>()).unwrap().clusters(), 1);
        assert_eq!(Frozen::fit(&[]), None);
        assert_eq!(Frozen::fit(&[vec![0.0; DIMENSIONS]]), None, "without a word");
    }

    #[test]
    fn the_threshold_is_the_median_and_three_deviations_or_the_floor() {
        let alike = Frozen::fit(&vec![elsewhere(); 50]).unwrap();
        assert_eq!((alike.median(), alike.threshold()), (0.0, FLOOR));
        // Pairs at angles about one direction: one centroid each quarter of them.
        let spread: Vec<Vec<f32>> = (0..400).map(|n| vector(n, 19)).collect();
        let frozen = Frozen::fit(&spread).unwrap();
        let mut distances: Vec<f32> = spread.iter().map(|vector| frozen.distance(vector).unwrap()).collect();
        distances.sort_by(f32::total_cmp);
        let median = distances[199];
        let mut off: Vec<f32> = distances.iter().map(|distance| (distance - median).abs()).collect();
        off.sort_by(f32::total_cmp);
        assert!((frozen.median() - median).abs() < 1e-4, "{} {median}", frozen.median());
        assert!((frozen.threshold() - (median + 3.0 * 1.4826 * off[199]).max(FLOOR)).abs() < 1e-3);
    }

    #[test]
    fn the_same_vectors_give_the_same_bits_and_bytes_come_back() {
        let frozen = Frozen::fit(&known(300, 17)).unwrap();
        assert_eq!(frozen, Frozen::fit(&known(300, 17)).unwrap());
        let mut bytes = Vec::new();
        frozen.checkpoint(&mut bytes);
        let mut again = StateReader::new(&bytes);
        assert_eq!(Frozen::restore(&mut again).unwrap(), frozen);
        assert!(again.is_empty());
        for cut in (0..bytes.len()).step_by(37) {
            assert!(Frozen::restore(&mut StateReader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        let mut nan = bytes.clone();
        nan[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Frozen::restore(&mut StateReader::new(&nan)).is_err());
        let mut huge = bytes;
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Frozen::restore(&mut StateReader::new(&huge)).is_err());
    }

    #[test]
    fn what_is_no_vector_of_its_length_says_nothing() {
        let frozen = Frozen::fit(&known(50, 5)).unwrap();
        for bad in [vec![], vec![1.0; 2 * DIMENSIONS], vec![0.0; DIMENSIONS], vec![f32::NAN; DIMENSIONS]] {
            assert_eq!(frozen.distance(&bad), None);
            assert!(frozen.oddness(&bad).is_none());
        }
    }

    #[test]
    fn the_distance_is_that_to_the_nearest_of_all_centroids_taken_whole() {
        let known = known(300, 17);
        let frozen = Frozen::fit(&known).unwrap();
        let rows: Vec<f32> = frozen.rows().copied().collect();
        assert_eq!(rows.len(), frozen.clusters() * DIMENSIONS);
        for vector in known.iter().chain([&elsewhere(), &unit(vec![0.5; DIMENSIONS])]) {
            let nearest = rows.chunks_exact(DIMENSIONS).map(|row| dot(row, vector)).reduce(f32::max).unwrap();
            assert!((frozen.distance(vector).unwrap() - (1.0 - nearest).clamp(0.0, 2.0)).abs() < 1e-5);
        }
    }

    #[test]
    fn an_event_says_less_the_more_of_its_template_there_were() {
        let input = Input { oddness: Oddness::of(9.0), ..Input::default() };
        assert_eq!(evidence(&input, 1.0), 9.0);
        assert!((evidence(&input, 100.0) - (9.0 - 100f32.ln())).abs() < 1e-4);
        assert_eq!(evidence(&input, 1e9), 0.0);
        for code in 0..=255u8 {
            let oddness = Oddness::from_code(code);
            assert_eq!(Oddness::from_code(oddness.code()), oddness);
            assert_eq!(Oddness::of(oddness.nats()), oddness);
        }
        assert_eq!((Oddness::of(f32::NAN), Oddness::of(1e9).code()), (Oddness::NONE, 15));
    }
}
