//! Everything one lane learned, and the combined score.

mod evicted;
mod exchange;
mod join;
mod reasons;

pub use evicted::Evicted;
pub use exchange::Outbox;

use std::collections::HashSet;

use exchange::{Seen, SeenBins, Tally};
use reasons::{News, reasons, reasons_given};

use super::budget::{AlertBudget, Threshold};
use super::calibration::{self, Calibration, Calibrations, TailShape};
use super::categorical::{Categorical, Worded};
use super::clock::{Clock, Source};
use super::extremes::larger;
use super::hold::{self, Hold};
use super::numeric::{Numeric, Outlier};
use super::rarity::Rarity;
use super::rate::{Excess, Rate};
use super::repeats::Recent;
use super::season::{Kind, Level, Season};
use super::sequence::Sequence;
use super::silence::{Silence, Silent, TOLD_AT};
use super::streams::{Sources, Streams};
use super::{Detector, Input, StateError, StateReader, semantic};
use crate::event::{DETECTORS, DetectorKind, REASONS, Reason, State, StreamKey, Timestamp};

/// Weight of the sum of all evidence beside the strongest one.
const SUM_WEIGHT: f32 = 0.001;

/// Rarity is not calibrated: a new template is news however many there were of late, and what it weighs beyond the others stands for that.
const RARITY_WEIGHT: f32 = 1.15;

/// What likeness to a flagged template says, nats: about one event in ten thousand. How often it is said the combined calibration learns.
const SIMILAR_NATS: f32 = 9.0;

/// A count is no more surprising than this many times what the windows alone say.
const RATE_CAP: f32 = 2.0;

/// Events are no more out of order than this many times what their order says: where it never says much, a little is soon what it said least often.
const ORDER_CAP: f32 = 4.0;

/// The most a number or a new value can say, nats.
const VALUE_CAP: f32 = 20.0;

/// Less is nothing odd, however calm the stream: where all events say nothing, one that says a little is seldom enough to be within any budget.
const LEAST_ODD: f32 = 1.5;

/// ln 10: repeats are counted once, so that an incident is not soon usual, but no event is told to be rarer than by this much beyond its share of all
/// events. Where a template comes ten thousand times within the time it is held, nearly all events are repeats.
const REPEATS_COUNT: f32 = std::f32::consts::LN_10;
const REPEATS_SHARE: f64 = 0.1;

/// Evidence below this is nothing to be remembered as recent, nats.
const LEAST_RECENT: f32 = 0.05;

/// The same of all together: more than one event in five says as much, and no budget is as large.
const LEAST_COMBINED: f32 = 1.5;

/// Of [`Model::checkpoint`]; counted up whenever its bytes, or what they mean, change. Of the askings of [`Streams`] it is the order that means something, not how
/// many are counted.
const FORMAT: u32 = 6;
/// Before lanes had a clock of their own, windows summed events as they are, and the order's weights were of double precision.
const FORMAT_WITHOUT_CLOCK: u32 = 5;
/// Before the shares of all events were kept.
const FORMAT_WITHOUT_SHARES: u32 = 4;
const WHAT_FORMAT: &str = "format of the model";

/// log2 of the streams whose recent evidence is remembered.
const STREAM_BITS: u32 = 12;

/// Weights of the detectors, by [`DetectorKind`]; severity's is λ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights(pub [f32; DETECTORS]);

impl Default for Weights {
    fn default() -> Self {
        let mut weights = [1.0; DETECTORS];
        weights[DetectorKind::Severity as usize] = 0.5;
        weights[DetectorKind::Semantic as usize] = 0.0;
        Self(weights)
    }
}

/// How a model scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelOptions {
    /// What may alert.
    pub alert_budget: AlertBudget,
    /// Learning ends after this many events …
    pub learning_events: u64,
    /// … or this many seconds, whichever is first.
    pub learning_secs: u64,
    /// A template that alerted is held this long.
    pub hold_secs: u64,
    /// Half-life of template counts.
    pub half_life_events: u64,
    /// Half-life of the calibration.
    pub calibration_half_life_events: u64,
    /// What each detector weighs.
    pub weights: Weights,
    /// Whose clock tells when events were.
    pub clock: Source,
}

/// The answer for one input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// When it was for the detectors: by the lane's clock.
    pub at: Timestamp,
    /// Evidence in nats by detector.
    pub evidence: [f32; DETECTORS],
    /// The combined statistic T, nats.
    pub statistic: f32,
    /// −ln of the share of past events with a T at least as large, repeats counted once, but no more than a tenth of the share of all.
    pub nats: f32,
    /// That share.
    pub p_value: f64,
    /// An alert.
    pub is_anomaly: bool,
    /// Would be an alert, but repeats one.
    pub suppressed: bool,
    /// Learning or ready.
    pub state: State,
    /// Strongest first.
    pub reasons: [Option<Reason>; REASONS],
    /// There is an excess or an outlier to show for a reason, see [`Model::grounds`].
    pub has_measure: bool,
}

/// What reasons rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grounds {
    /// What a rate reason rests on.
    pub excess: Option<Excess>,
    /// What a numeric reason rests on.
    pub outlier: Option<Outlier>,
    /// The wildcard that a reason of a new value rests on.
    pub new_value: Option<usize>,
}

/// −ln of one in a million: a score of 1.
const NATS_OF_A_MILLION: f64 = 6.0 * std::f64::consts::LN_10;

impl Scored {
    /// `min(1, −log10 p / 6)`, from 0 on.
    pub fn score(&self) -> f64 {
        // Adding zero takes the sign from the minus zero of p = 1.
        (f64::from(self.nats) / NATS_OF_A_MILLION).clamp(0.0, 1.0) + 0.0
    }
}

/// The detectors that are calibrated, by their place in [`Calibrations`].
const CALIBRATED: [DetectorKind; 4] =
    [DetectorKind::Rate, DetectorKind::Numeric, DetectorKind::Categorical, DetectorKind::Sequence];
const RATE: usize = 0;
const NUMERIC: usize = 1;
const CATEGORICAL: usize = 2;
const SEQUENCE: usize = 3;

/// What a template said lately.
#[derive(Debug, Clone, Copy, Default)]
struct RecentOfTemplate {
    rate: Recent,
    numeric: Recent,
    categorical: Recent,
    combined: Recent,
}

/// What a stream said lately.
#[derive(Debug, Clone, Copy, Default)]
struct RecentOfStream {
    sequence: Recent,
    combined: Recent,
}

/// A gap between two events counts for one part in so many of the learning time at most.
const LONGEST_PART: i64 = 10;

/// How long there was something to learn from: by the events' times, of which a few may be anywhere.
#[derive(Debug, Clone, Copy, Default)]
struct LearningTime {
    elapsed_micros: i64,
    last: Option<Timestamp>,
}

impl LearningTime {
    /// Adds the time since the event before, `most_micros` of it at most: one event from the far future does not end the
    /// learning, and one from the past costs nothing.
    fn pass(&mut self, now: Timestamp, most_micros: i64) {
        let gap = self.last.map_or(0, |last| now.0.saturating_sub(last.0));
        self.elapsed_micros = self.elapsed_micros.saturating_add(gap.clamp(0, most_micros));
        self.last = Some(now);
    }
}

/// What one lane learned.
#[derive(Debug, Clone)]
pub struct Model {
    options: ModelOptions,
    clock: Clock,
    /// What each detector's evidence is multiplied by.
    weights: [f32; DETECTORS],
    rarity: Rarity,
    rate: Rate,
    numeric: Numeric,
    categorical: Categorical,
    sequence: Sequence,
    silence: Silence,
    season: Season,
    calibrations: Calibrations<{ CALIBRATED.len() }>,
    calibration: Calibration,
    /// The same of all events, repeats too.
    shares: Calibration,
    threshold: Threshold,
    hold: Hold,
    templates: Vec<RecentOfTemplate>,
    streams: Streams<RecentOfStream>,
    sources: Sources,
    learned: LearningTime,
    is_ready: bool,
    seen: Tally,
    seen_bins: SeenBins,
    seen_share_bins: SeenBins,
}

fn in_32_bits(events: u64) -> u32 {
    u32::try_from(events).unwrap_or(u32::MAX)
}

/// What detectors say of one event: before calibration those that are calibrated, after it all.
struct Evidence {
    /// When the event is, by the lane's clock.
    at: Timestamp,
    /// No event of the template was ever seen.
    is_new: bool,
    raw: [f32; CALIBRATED.len()],
    /// The most of them.
    loudest: f32,
    calibrated: [f32; DETECTORS],
}

/// The most that is said; all are numbers.
#[inline]
fn loudest(raw: &[f32; CALIBRATED.len()]) -> f32 {
    let [rate, numeric, categorical, sequence] = *raw;
    larger(larger(rate, numeric), larger(categorical, sequence))
}

/// What the evidence together comes to.
#[derive(Debug, Clone, Copy)]
struct Judged {
    weighted: [f32; DETECTORS],
    /// Of all but severity.
    strongest: f32,
    statistic: f32,
    /// Of the histograms of `calibration` and `shares`.
    bin: usize,
    /// −ln of the share of past events that were no repeats and as odd: what the budget is about.
    fresh: f32,
    /// The most that the share of all events allows.
    most: f32,
    nats: f32,
    p_value: f64,
}

impl Judged {
    /// The first detector that says the most, severity left out.
    fn leader(&self) -> DetectorKind {
        let all = DetectorKind::ALL.into_iter().zip(self.weighted);
        let mut leads = all.filter(|(kind, weighted)| *weighted == self.strongest && *kind != DetectorKind::Severity);
        leads.next().map_or(DetectorKind::Rarity, |(kind, _)| kind)
    }
}

impl Model {
    /// Nothing learned yet.
    pub fn new(options: ModelOptions) -> Self {
        let mut weights = options.weights.0;
        weights[DetectorKind::Rarity as usize] *= RARITY_WEIGHT;
        Self {
            weights,
            clock: Clock::new(options.clock),
            rarity: Rarity::new(options.half_life_events),
            rate: Rate::default(),
            numeric: Numeric::default(),
            categorical: Categorical::default(),
            sequence: Sequence::new(options.half_life_events),
            silence: Silence::default(),
            season: Season::default(),
            calibrations: Calibrations::new(options.calibration_half_life_events, TailShape::DETECTOR),
            calibration: Calibration::new(options.calibration_half_life_events, TailShape::COMBINED),
            shares: Calibration::new(options.calibration_half_life_events, TailShape::SHARES),
            threshold: Threshold::new(options.alert_budget, options.calibration_half_life_events),
            hold: Hold::new(options.hold_secs),
            templates: Vec::new(),
            streams: Streams::new(STREAM_BITS),
            sources: Sources::default(),
            learned: LearningTime::default(),
            is_ready: false,
            seen: Tally::default(),
            seen_bins: SeenBins::new(),
            seen_share_bins: SeenBins::new(),
            options,
        }
    }

    /// A bit for each wildcard of a slot whose word a coming input should have.
    #[inline]
    pub fn wanted_words(&self, slot: usize) -> u8 {
        self.categorical.wanted(slot)
    }

    /// Scores an event by what was learned before it, then learns it.
    pub fn observe(&mut self, input: &Input) -> Scored {
        let at = self.clock.see(input.timestamp);
        let mut evidence = self.evidence(input, at);
        let mut judged = self.judge(&evidence);
        let state = self.state_at(at);
        self.threshold.pass(at);
        let may_alert = state == State::Ready && !input.is_muted;
        let mut is_odd = may_alert && self.is_odd(&judged);
        if is_odd && self.excuse(input, &mut evidence, judged.leader()) {
            judged = self.judge_again(&evidence);
            is_odd = self.is_odd(&judged);
        }
        let Judged { statistic, bin, fresh, nats, p_value, .. } = judged;
        // Of most events nobody asks what led.
        let leader = if is_odd || fresh >= LEAST_COMBINED { judged.leader() } else { DetectorKind::Rarity };
        let alerts = is_odd && self.threshold.is_over(fresh);
        let seen = if is_odd { self.hold.see(key(leader, input), at, fresh, alerts) } else { hold::Seen::Nothing };
        let suppressed = seen == hold::Seen::Alert;
        let is_fresh = self.calibrate(input, &evidence, fresh, leader);
        let counts = if is_odd { seen == hold::Seen::Nothing } else { is_fresh && !input.is_muted };
        self.learn(bin, counts);
        let is_anomaly = alerts && !suppressed;
        if state == State::Ready {
            self.threshold.learn(is_anomaly);
        }
        let excess = self.rate.excess();
        let news = News {
            is_new: evidence.is_new,
            is_drop: excess.is_some_and(|excess| excess.is_drop),
            leader: is_odd.then_some(leader),
        };
        let reasons = reasons(&judged, news);
        let (excess, outlier) = self.measures(&reasons);
        Scored {
            at,
            evidence: evidence.calibrated,
            statistic,
            nats,
            p_value,
            is_anomaly,
            suppressed,
            state,
            reasons,
            has_measure: excess.is_some() || outlier.is_some(),
        }
    }

    /// What rate and numeric reasons of the last event rest on.
    #[inline]
    fn measures(&self, reasons: &[Option<Reason>; REASONS]) -> (Option<Excess>, Option<Outlier>) {
        let is_given = |reason: Reason| reasons.contains(&Some(reason));
        let excess = self.rate.excess().filter(|_| is_given(Reason::RateSpike) || is_given(Reason::RateDrop));
        (excess, self.numeric.outlier().filter(|_| is_given(Reason::NumericOutlier)))
    }

    /// What the reasons of an event rest on: the one that [`Self::observe`] gave last, and as it gave it. Of any other the answer means nothing.
    #[cold]
    pub fn grounds(&self, scored: &Scored) -> Grounds {
        let (excess, outlier) = self.measures(&scored.reasons);
        let new_value = self.categorical.place().filter(|_| scored.reasons.contains(&Some(Reason::NewValue)));
        Grounds { excess, outlier, new_value }
    }

    #[inline]
    fn evidence(&mut self, input: &Input, at: Timestamp) -> Evidence {
        let coming = self.sequence.expect(input);
        let (rarity, is_new) = self.rarity.see(input.slot);
        if is_new {
            self.categorical.found(input.slot, in_32_bits(self.events() + 1));
        }
        let numeric = self.numeric.observe(input);
        let categorical = self.categorical.observe(input);
        if let Some(first) = self.sources.see(input.stream) {
            self.split(first);
        }
        // What is of no stream is of none apart.
        let stream = if self.sources.are_many() { input.stream } else { StreamKey::default() };
        let pair = (stream != StreamKey::default()).then(|| self.silence.key(input.slot, stream));
        self.silence.see(input.slot, stream, at);
        let sequence = coming.map_or(0.0, |coming| self.sequence.take(&coming));
        // What comes while nobody knows when it was says nothing of how much comes when.
        let weight = if self.clock.is_lost() { 0.0 } else { Rate::weight(self.sequence.surprise()) };
        let rate = self.rate.see(input.slot, pair, at, weight);
        self.count(input, weight);
        let raw = [rate, numeric, categorical, sequence];
        let mut calibrated = [0.0; DETECTORS];
        calibrated[DetectorKind::Rarity as usize] = rarity;
        calibrated[DetectorKind::Severity as usize] = input.severity.nats();
        calibrated[DetectorKind::Similar as usize] = if input.is_like_incident { SIMILAR_NATS } else { 0.0 };
        if !input.oddness.is_none() {
            calibrated[DetectorKind::Semantic as usize] =
                semantic::evidence(input, self.rarity.decayed_count(input.slot));
        }
        let loudest = loudest(&raw);
        if loudest > 0.0 {
            self.calibrated(&raw, &mut calibrated);
        }
        Evidence { at, is_new, raw, loudest, calibrated }
    }

    /// From now on streams are told apart: so far there was this one.
    #[cold]
    fn split(&mut self, first: StreamKey) {
        if first != StreamKey::default() {
            self.silence.split(first);
            let silence = &self.silence;
            self.rate.split(|slot| silence.key(slot, first));
        }
    }

    /// Takes back the evidence of an event that would alert for being rare, many or few, as far as that is usual at this hour; whether any was.
    #[cold]
    fn excuse(&mut self, input: &Input, evidence: &mut Evidence, leader: DetectorKind) -> bool {
        if !matches!(leader, DetectorKind::Rarity | DetectorKind::Rate) {
            return false;
        }
        let excess = self.rate.excess().filter(|_| evidence.raw[RATE] > 0.0);
        let is_drop = excess.is_some_and(|excess| excess.is_drop);
        let level = excess.filter(|_| !is_drop).map_or(Level::SOME, |excess| Level::of(excess.events));
        let kind = if is_drop { Kind::Drop } else { Kind::Presence };
        let usual = self.season.see(input.slot, kind, input.timestamp, level);
        if level.is_like(usual) {
            evidence.raw[RATE] = 0.0;
            evidence.loudest = loudest(&evidence.raw);
            evidence.calibrated[DetectorKind::Rate as usize] = 0.0;
        }
        if !is_drop && Level::SOME.is_like(usual) {
            evidence.calibrated[DetectorKind::Rarity as usize] = 0.0;
        }
        Level::SOME.is_like(usual)
    }

    /// Evidence in the light of what each detector said before.
    fn calibrated(&self, raw: &[f32; CALIBRATED.len()], calibrated: &mut [f32; DETECTORS]) {
        let nats = |index: usize| if raw[index] > 0.0 { self.calibrations.nats(index, raw[index]) } else { 0.0 };
        let capped = |index: usize| raw[index].min(VALUE_CAP).min(nats(index) + 1.0);
        calibrated[DetectorKind::Rate as usize] = nats(RATE).min(RATE_CAP * raw[RATE]);
        calibrated[DetectorKind::Numeric as usize] = capped(NUMERIC);
        calibrated[DetectorKind::Categorical as usize] = capped(CATEGORICAL);
        calibrated[DetectorKind::Sequence as usize] = nats(SEQUENCE).min(ORDER_CAP * raw[SEQUENCE]);
    }

    /// Within [`Self::observe`], so that evidence need not go through memory.
    #[inline(always)]
    fn judge(&self, evidence: &Evidence) -> Judged {
        let weighted = self.weighted(&evidence.calibrated);
        let severity = weighted[DetectorKind::Severity as usize];
        let mut others = weighted;
        others[DetectorKind::Severity as usize] = 0.0;
        // Pairs first: the processor compares and adds several at once.
        let [a, b, c, d, e, f, g, h, i] = others;
        let strongest = larger(larger(larger(larger(a, b), larger(c, d)), larger(larger(e, f), larger(g, h))), i);
        let sum = ((a + b) + (c + d)) + ((e + f) + (g + h)) + i + severity;
        let statistic = strongest + severity + SUM_WEIGHT * sum;
        let bin = calibration::bin(statistic);
        let (fresh, probability) = self.calibration.nats_and_probability(statistic, bin);
        let (share_nats, share) = self.shares.nats_and_probability(statistic, bin);
        let most = share_nats + REPEATS_COUNT;
        let (nats, p_value) = if fresh <= most { (fresh, probability) } else { (most, share * REPEATS_SHARE) };
        Judged { weighted, strongest, statistic, bin, fresh, most, nats, p_value }
    }

    #[cold]
    #[inline(never)]
    fn judge_again(&self, evidence: &Evidence) -> Judged {
        self.judge(evidence)
    }

    /// Whether such an event alerts when it repeats none. What fills the budget in vain, since most of what is odd is held, must not make the usual odd.
    #[inline]
    fn is_odd(&self, judged: &Judged) -> bool {
        judged.statistic >= LEAST_ODD && self.threshold.is_odd(judged.fresh) && judged.most >= self.threshold.limit()
    }

    #[inline]
    fn weighted(&self, evidence: &[f32; DETECTORS]) -> [f32; DETECTORS] {
        std::array::from_fn(|kind| evidence[kind] * self.weights[kind])
    }

    fn state_at(&mut self, now: Timestamp) -> State {
        if self.is_ready {
            return State::Ready;
        }
        let micros = i64::try_from(self.options.learning_secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        self.learned.pass(now, micros / LONGEST_PART);
        self.is_ready =
            self.calibration.events() >= self.options.learning_events || self.learned.elapsed_micros >= micros;
        if self.is_ready { State::Ready } else { State::Learning }
    }

    /// Notes the event for the other lanes.
    #[inline]
    fn count(&mut self, input: &Input, weight: f32) {
        self.seen.add(input.slot, Seen { events: 1, weight });
    }

    /// The bin of an event's statistic, which counts for the budget when it is no repeat.
    fn learn(&mut self, bin: usize, counts: bool) {
        self.shares.learn_bin(bin);
        self.seen_share_bins.add(bin);
        let bin = if counts { bin } else { 0 };
        self.calibration.learn_bin(bin);
        self.seen_bins.add(bin);
    }

    /// Lets the detectors' calibrations learn what is no repeat; whether the combined statistic is none.
    #[inline]
    fn calibrate(&mut self, input: &Input, evidence: &Evidence, nats: f32, leader: DetectorKind) -> bool {
        if evidence.loudest >= LEAST_RECENT {
            return self.calibrate_recent(input, evidence, nats, leader);
        }
        self.calibrations.learn_nothing();
        nats < LEAST_COMBINED || leader == DetectorKind::Sequence || self.is_fresh(input.slot, evidence.at, nats)
    }

    /// The same of an event of which a detector says something; not in line, since most events are none.
    #[inline(never)]
    fn calibrate_recent(&mut self, input: &Input, evidence: &Evidence, nats: f32, leader: DetectorKind) -> bool {
        let hold = self.hold_secs();
        self.make_room_for(input.slot);
        let Some(template) = self.templates.get_mut(input.slot) else { return true };
        let at = evidence.at;
        let fresh =
            |recent: &mut Recent, nats: f32| if nats < LEAST_RECENT { 0.0 } else { recent.fresh(at, nats, hold) };
        let [rate, numeric, categorical, sequence] = evidence.raw;
        let mut learned = [
            fresh(&mut template.rate, rate),
            fresh(&mut template.numeric, numeric),
            fresh(&mut template.categorical, categorical),
            0.0,
        ];
        let is_led_by_order = leader == DetectorKind::Sequence;
        let mut is_fresh = true;
        if sequence >= LEAST_RECENT
            && let Some(stream) = self.streams.of(stream_key(input.stream))
        {
            learned[SEQUENCE] = stream.sequence.fresh(at, sequence, hold);
            if is_led_by_order {
                is_fresh = stream.combined.fresh(at, nats, hold) > 0.0;
            }
        }
        self.calibrations.learn(learned);
        if !is_led_by_order && nats >= LEAST_COMBINED {
            is_fresh = self.is_fresh(input.slot, at, nats);
        }
        is_fresh
    }

    /// Whether what an event of the slot comes to was not said of late.
    #[inline]
    fn is_fresh(&mut self, slot: usize, at: Timestamp, nats: f32) -> bool {
        let hold = self.hold_secs();
        self.make_room_for(slot);
        self.templates.get_mut(slot).is_none_or(|template| template.combined.fresh(at, nats, hold) > 0.0)
    }

    /// Where the lane's clock is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Where it will be if the last event stays the last.
    pub fn latest(&self) -> Timestamp {
        self.clock.latest()
    }

    /// The lane's time when the clock of the events tells this.
    pub fn at(&self, told: Timestamp) -> Timestamp {
        self.clock.at(told)
    }

    /// What the clock of the events tells at a time of the lane.
    pub fn told(&self, at: Timestamp) -> Timestamp {
        self.clock.told(at)
    }

    /// Whether it is time to look for what fell silent, by the lane's clock.
    pub fn is_look_due(&mut self, now: Timestamp) -> bool {
        self.silence.is_due(now) && self.is_ready
    }

    /// The input was not looked at since the last event.
    pub fn resume(&mut self) {
        self.silence.resume();
    }

    /// Whether what the stream of the last event is called may not be known: a series began on it, or did what most events of one do not. Asked once.
    #[inline]
    pub fn asks_for_stream(&mut self) -> bool {
        self.silence.asks_for_stream()
    }

    /// Streams that templates are known on, and the only one of an input of one.
    pub fn streams_alive(&mut self) -> HashSet<StreamKey> {
        self.silence.streams().chain(self.sources.only()).collect()
    }

    /// The stream of all events, when there is only one.
    pub fn only_stream(&self) -> Option<StreamKey> {
        self.sources.only()
    }

    /// Goes on with what another lane learned, of which each stream's own order and regularity are the other's.
    pub fn leave_streams(&mut self) {
        self.silence.start_anew();
        self.sequence.leave_streams();
        self.rate.leave_streams();
        self.sources = Sources::default();
    }

    /// The worst silence that was not told of yet, as an event of its own, unless it repeats one; `now` is of the lane's clock.
    pub fn tick(&mut self, now: Timestamp) -> Option<(Silent, Scored)> {
        self.worst_silence(now).filter(|(_, scored)| !scored.suppressed)
    }

    /// The same, also when it repeats one: then it is suppressed.
    pub fn worst_silence(&mut self, now: Timestamp) -> Option<(Silent, Scored)> {
        let weight = self.weights[DetectorKind::Silence as usize];
        // A weight of 0 leaves nothing that is enough.
        let silent = self.silence.worst(now, TOLD_AT.max(self.threshold.limit()) / weight)?;
        let mut evidence = [0.0; DETECTORS];
        evidence[DetectorKind::Silence as usize] = silent.evidence;
        let weighted = self.weighted(&evidence);
        let statistic = weighted[DetectorKind::Silence as usize];
        let p_value = Calibration::probability(statistic);
        let suppressed = self.hold.see(silence_key(silent.slot), now, statistic, true) == hold::Seen::Alert;
        let scored = Scored {
            at: now,
            evidence,
            statistic,
            nats: statistic,
            p_value,
            is_anomaly: !suppressed,
            suppressed,
            state: State::Ready,
            reasons: reasons_given(&weighted, News::default()),
            has_measure: false,
        };
        Some((silent, scored))
    }

    /// Learning or ready.
    pub fn state(&self) -> State {
        if self.is_ready { State::Ready } else { State::Learning }
    }

    /// Events learned, ever.
    pub fn events(&self) -> u64 {
        self.calibration.events()
    }

    /// Decayed number of events of a template.
    pub fn decayed_count(&self, slot: usize) -> f64 {
        self.rarity.decayed_count(slot)
    }

    /// What was seen since the last call.
    pub fn take_outbox(&mut self) -> Outbox {
        let (counts, weights): (Vec<_>, Vec<_>) =
            self.seen.take().map(|(slot, seen)| ((slot, seen.events), seen.weight)).unzip();
        let ranges = |slot: &u32| self.numeric.ranges(*slot as usize).collect();
        Outbox {
            weights,
            ranges: counts.iter().map(|(slot, _)| ranges(slot)).collect(),
            bins: self.seen_bins.take(),
            share_bins: self.seen_share_bins.take(),
            newest: self.clock.told(self.clock.now()),
            counts,
        }
    }

    /// Takes a template as met once, so that the first event of it is not news.
    pub fn acquaint(&mut self, slot: usize) {
        self.rarity.acquaint(slot);
    }

    /// Learns what another lane saw; `slot_of` tells where its templates are now, if they still are.
    pub fn absorb(&mut self, outbox: &Outbox, slot_of: impl Fn(u32) -> Option<usize>, is_ready: bool) {
        if !outbox.counts.is_empty()
            && let Some(first) = self.sources.become_many()
        {
            self.split(first);
        }
        let at = if outbox.counts.is_empty() { self.clock.now() } else { self.clock.see_elsewhere(outbox.newest) };
        let all = outbox.counts.iter().map(|(_, events)| u64::from(*events)).sum();
        self.rarity.absorb(all, outbox.counts.iter().filter_map(|(slot, events)| Some((slot_of(*slot)?, *events))));
        let templates = outbox.counts.iter().zip(&outbox.weights).zip(&outbox.ranges);
        for (((slot, events), weight), ranges) in templates {
            let Some(slot) = slot_of(*slot) else { continue };
            self.rate.absorb(slot, at.0, *events, *weight);
            self.numeric.absorb(slot, ranges);
        }
        for (calibration, bins) in [(&mut self.calibration, &outbox.bins), (&mut self.shares, &outbox.share_bins)] {
            calibration.absorb(bins);
        }
        self.is_ready |= is_ready;
    }

    /// What was learned of `from` now belongs to `into`.
    pub fn merge(&mut self, from: usize, into: usize) {
        self.rarity.merge(from, into);
        self.rate.merge(from, into);
        for stream in self.silence.streams_of(from) {
            self.rate.take_in_pair(self.silence.key(from, stream), self.silence.key(into, stream));
        }
        self.numeric.merge(from, into);
        self.categorical.merge(from, into);
        self.sequence.merge(from, into);
        self.silence.merge(from, into);
        self.season.merge(from, into);
        self.seen.merge(from, into);
        self.hold.merge(from as u64, into as u64);
        self.hold.merge(silence_key(from), silence_key(into));
        self.merge_recent(from, into);
        self.leave(from);
    }

    fn merge_recent(&mut self, from: usize, into: usize) {
        let Some(gone) = self.templates.get(from).copied() else { return };
        let hold = self.hold_secs();
        self.make_room_for(into);
        if let Some(recent) = self.templates.get_mut(into) {
            recent.rate.merge(gone.rate, hold);
            recent.numeric.merge(gone.numeric, hold);
            recent.categorical.merge(gone.categorical, hold);
            recent.combined.merge(gone.combined, hold);
        }
    }

    fn hold_secs(&self) -> u32 {
        u32::try_from(self.options.hold_secs).unwrap_or(u32::MAX)
    }

    fn make_room_for(&mut self, slot: usize) {
        if slot >= self.templates.len() {
            self.templates.resize(slot + 1, RecentOfTemplate::default());
        }
    }

    /// A word that a template had in every line is a value from now on.
    pub fn worded(&mut self, worded: Worded) {
        let events = self.rarity.decayed_count(worded.slot).clamp(1.0, 1e9) as u32;
        let events = if self.rarity.is_new(worded.slot) { 0 } else { events };
        self.categorical.worded(worded, events, in_32_bits(self.events()));
    }

    /// The values of the slot's template are at other places from now on.
    pub fn forget_values(&mut self, slot: usize) {
        self.numeric.forget(slot);
        self.categorical.forget_values(slot);
    }

    /// The slot is about to hold another template.
    pub fn forget(&mut self, slot: usize) {
        self.rarity.forget(slot);
        self.rate.forget(slot);
        self.numeric.forget(slot);
        self.categorical.forget(slot);
        self.sequence.forget(slot);
        self.silence.forget(slot);
        self.season.forget(slot);
        self.leave(slot);
    }

    fn leave(&mut self, slot: usize) {
        self.hold.forget(slot as u64);
        self.hold.forget(silence_key(slot));
        self.seen.clear(slot);
        if let Some(recent) = self.templates.get_mut(slot) {
            *recent = RecentOfTemplate::default();
        }
    }

    /// Appends everything learned, bit for bit.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.learned.last.map_or(i64::MIN, |time| time.0).to_le_bytes());
        out.extend_from_slice(&self.learned.elapsed_micros.to_le_bytes());
        out.extend_from_slice(&u32::from(self.is_ready).to_le_bytes());
        self.clock.checkpoint(out);
        self.rarity.checkpoint(out);
        self.rate.checkpoint(out);
        self.numeric.checkpoint(out);
        self.categorical.checkpoint(out);
        self.sequence.checkpoint(out);
        self.silence.checkpoint(out);
        self.season.checkpoint(out);
        self.calibrations.checkpoint(out);
        self.calibration.checkpoint(out);
        self.shares.checkpoint(out);
        self.threshold.checkpoint(out);
        self.hold.checkpoint(out);
        out.extend_from_slice(&(self.templates.len() as u32).to_le_bytes());
        for recent in &self.templates {
            [recent.rate, recent.numeric, recent.categorical, recent.combined].iter().for_each(|r| r.checkpoint(out));
        }
        self.streams.checkpoint(out, |recent, out| {
            recent.sequence.checkpoint(out);
            recent.combined.checkpoint(out);
        });
        self.sources.checkpoint(out);
        self.rate.checkpoint_streams(out);
    }

    /// Takes in what [`Self::checkpoint`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut short or hold impossible values; nothing is changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let from = &mut StateReader::new(bytes);
        let format = from.u32(WHAT_FORMAT)?;
        if format > FORMAT {
            return Err(StateError::Newer { what: WHAT_FORMAT, found: format, supported: FORMAT });
        }
        if ![FORMAT, FORMAT_WITHOUT_CLOCK, FORMAT_WITHOUT_SHARES].contains(&format) {
            let (expected, found) = (FORMAT.to_string(), format.to_string());
            return Err(StateError::Impossible { what: WHAT_FORMAT, expected, found });
        }
        let mut restored = Self::new(self.options);
        let last = from.i64("time of the last event while learning")?;
        restored.learned.last = (last != i64::MIN).then_some(Timestamp(last));
        restored.learned.elapsed_micros = from.i64("time spent learning")?;
        restored.is_ready = from.u32("ready")? != 0;
        let is_former = format <= FORMAT_WITHOUT_CLOCK;
        if !is_former {
            restored.clock.restore(from)?;
        }
        restored.rarity.restore(from)?;
        if is_former { restored.rate.restore_without_plain(from) } else { restored.rate.restore(from) }?;
        if is_former { restored.numeric.restore_ranges(from) } else { restored.numeric.restore(from) }?;
        if is_former { restored.categorical.restore_former(from) } else { restored.categorical.restore(from) }?;
        if is_former { restored.sequence.restore_single(from) } else { restored.sequence.restore(from) }?;
        restored.silence.restore(from)?;
        restored.season.restore(from)?;
        restored.calibrations.restore(from)?;
        restored.calibration.restore(from)?;
        if format == FORMAT_WITHOUT_SHARES {
            restored.shares = restored.calibration.clone().with_shape(TailShape::SHARES);
        } else {
            restored.shares.restore(from)?;
        }
        restored.threshold.restore(from)?;
        restored.hold.restore(from)?;
        for _ in 0..from.length("recent evidence", super::MOST_TEMPLATES, 4 * Recent::BYTES)? {
            restored.templates.push(RecentOfTemplate {
                rate: Recent::restore(from)?,
                numeric: Recent::restore(from)?,
                categorical: Recent::restore(from)?,
                combined: Recent::restore(from)?,
            });
        }
        restored.streams.restore(from, "recent evidence of streams", 2 * Recent::BYTES, |from| {
            Ok(RecentOfStream { sequence: Recent::restore(from)?, combined: Recent::restore(from)? })
        })?;
        if is_former {
            restored.sources = Sources::unknown(restored.silence.has_streams());
        } else {
            restored.sources = Sources::restore(from)?;
            restored.rate.restore_streams(from)?;
        }
        *self = restored;
        Ok(())
    }
}

/// What an alert led by a detector is a repeat of: for an unusual order the stream's, else the template's.
fn key(leader: DetectorKind, input: &Input) -> u64 {
    if leader == DetectorKind::Sequence { stream_key(input.stream) } else { input.slot as u64 }
}

/// Above every slot.
fn stream_key(stream: StreamKey) -> u64 {
    super::table::hash(9, stream.0, 0) | 1 << 63
}

fn silence_key(slot: usize) -> u64 {
    slot as u64 | 1 << 40
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const OPTIONS: ModelOptions = ModelOptions {
        alert_budget: AlertBudget::Share(0.001),
        learning_events: 2_000,
        learning_secs: 1_000,
        hold_secs: 60,
        half_life_events: 50_000,
        calibration_half_life_events: 20_000,
        weights: Weights([1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.0]),
        clock: Source::Event,
    };

    fn input(n: u64, slot: usize) -> Input {
        Input { slot, timestamp: Timestamp(n as i64 * 1_000), ..Input::default() }
    }

    fn routine(model: &mut Model, events: std::ops::Range<u64>) {
        for n in events {
            model.observe(&input(n, (n % 7) as usize));
        }
    }

    #[test]
    fn a_new_template_after_learning_is_an_anomaly_with_its_reason_and_its_repeat_is_held() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..20_000);
        let odd = model.observe(&input(20_000, 99));
        assert!(odd.is_anomaly && !odd.suppressed);
        assert_eq!(odd.reasons[0], Some(Reason::NewTemplate));
        let again = model.observe(&input(20_001, 99));
        assert!(!again.is_anomaly && again.suppressed);
    }

    #[test]
    fn one_event_from_the_future_does_not_end_the_learning_and_a_quiet_stream_ends_it_in_time() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..100);
        model.observe(&input(40_000_000_000, 3));
        routine(&mut model, 100..200);
        assert_eq!(model.state(), State::Learning);
        let mut quiet = Model::new(OPTIONS);
        (0..=11).for_each(|n| _ = quiet.observe(&input(n * 100_000, 1)));
        assert_eq!(quiet.state(), State::Ready, "an event every 100 s, for 1,100 s");
    }

    #[test]
    fn where_all_is_calm_a_budget_is_not_used_up() {
        let mut model = Model::new(ModelOptions { alert_budget: AlertBudget::Share(0.01), ..OPTIONS });
        let alerts = (0..60_000).filter(|n| model.observe(&input(*n, (*n % 7) as usize)).is_anomaly).count();
        // 600 are allowed. Of equal templates one may be the last to reach the next bucket of counts.
        assert!(alerts <= 3, "{alerts}");
    }

    #[test]
    fn a_score_stays_a_share_of_events_however_many_come_within_the_time_an_alert_is_held() {
        let mut model = Model::new(OPTIONS);
        let mut scores = Vec::new();
        for n in 0..300_000u64 {
            // Forty templates, some a thousandth as frequent as others, all within three seconds.
            let slot = (0..40).find(|slot| n % (slot * slot + 2) == 0).unwrap_or(40);
            let scored =
                model.observe(&Input { slot: slot as usize, timestamp: Timestamp(n as i64 * 10), ..Input::default() });
            if n >= 200_000 {
                scores.push((scored.nats, scored.suppressed));
            }
        }
        let share = |least: f32| scores.iter().filter(|(nats, _)| *nats >= least).count() as f64 / scores.len() as f64;
        for least in [3.0f32, 5.0, 7.0] {
            let promised = f64::from(-least).exp();
            assert!(share(least) <= 12.0 * promised, "{} of {promised} at {least}", share(least));
        }
        let held = scores.iter().filter(|(_, suppressed)| *suppressed).count();
        assert!(held <= scores.len() / 80, "{held}: a hundredth is within ten times the budget");
    }

    /// State bytes with those of one part in the place of another's.
    fn with(bytes: &[u8], part: &[u8], other: &[u8]) -> Vec<u8> {
        let at = bytes.windows(part.len()).rposition(|window| window == part).unwrap();
        [&bytes[..at], other, &bytes[at + part.len()..]].concat()
    }

    /// What a model's checkpoint was in the format before this one.
    fn former_bytes(model: &Model) -> Vec<u8> {
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        let part = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut part = Vec::new();
            put(&mut part);
            part
        };
        let clock = part(&|out| model.clock.checkpoint(out));
        bytes = with(&bytes, &clock, &[]);
        let streams = part(&|out| {
            model.sources.checkpoint(out);
            model.rate.checkpoint_streams(out);
        });
        bytes.truncate(bytes.len() - streams.len());
        let rate = part(&|out| model.rate.checkpoint(out));
        bytes = with(&bytes, &rate, &crate::detect::rate::tests::without_plain(&rate));
        // Together: there may be no numbers, and zeros are everywhere.
        let [numeric, categorical, sequence] = [
            part(&|out| model.numeric.checkpoint(out)),
            part(&|out| model.categorical.checkpoint(out)),
            part(&|out| model.sequence.checkpoint(out)),
        ];
        let ranges = crate::detect::numeric::tests::ranges_only(&model.numeric);
        let sets = crate::detect::categorical::tests::former(&categorical);
        let single = crate::detect::sequence::tests::in_single(&sequence);
        bytes =
            with(&bytes, &[&numeric[..], &categorical, &sequence].concat(), &[&ranges[..], &sets, &single].concat());
        bytes[..4].copy_from_slice(&FORMAT_WITHOUT_CLOCK.to_le_bytes());
        bytes
    }

    #[test]
    fn what_was_learned_before_windows_summed_events_as_they_are_is_read() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..5_000);
        let mut again = Model::new(OPTIONS);
        again.restore(&former_bytes(&model)).unwrap();
        for n in 5_000..8_000 {
            let (new, old) = (again.observe(&input(n, (n % 7) as usize)), model.observe(&input(n, (n % 7) as usize)));
            assert!((new.statistic - old.statistic).abs() < 1e-3, "{n}: {new:?} {old:?}");
        }
    }

    #[test]
    fn what_was_learned_before_the_shares_were_kept_is_read() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..5_000);
        let mut shares = Vec::new();
        model.shares.checkpoint(&mut shares);
        let mut bytes = with(&former_bytes(&model), &shares, &[]);
        bytes[..4].copy_from_slice(&FORMAT_WITHOUT_SHARES.to_le_bytes());
        let mut again = Model::new(OPTIONS);
        again.restore(&bytes).unwrap();
        assert_eq!((again.events(), again.shares.events()), (5_000, 5_000));
        assert_eq!(again.observe(&input(5_000, 3)).statistic, model.observe(&input(5_000, 3)).statistic);
    }

    #[test]
    fn what_alerted_is_held_when_it_becomes_part_of_another_template() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..20_000);
        assert!(model.observe(&input(20_000, 99)).is_anomaly);
        model.merge(99, 98);
        let again = model.observe(&input(20_001, 98));
        assert!(!again.is_anomaly && again.suppressed, "{again:?}");
        let other = model.observe(&input(20_002, 99));
        assert!(other.is_anomaly, "the slot is another's: {other:?}");
    }

    #[test]
    fn what_was_said_of_late_is_not_learned_again_under_another_name() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..20_000);
        model.observe(&Input { is_muted: true, ..input(20_000, 99) });
        let learned = |model: &Model| model.templates.get(98).map(|recent| recent.combined);
        let said = model.templates.get(99).unwrap().combined;
        model.merge(99, 98);
        assert_eq!((learned(&model), said == Recent::default()), (Some(said), false));
        assert_eq!(model.templates.get(99).unwrap().combined, Recent::default());
    }

    #[test]
    fn nothing_alerts_while_learning() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..1_000);
        let odd = model.observe(&input(500, 99));
        assert_eq!((odd.is_anomaly, odd.state), (false, State::Learning));
    }

    #[test]
    fn a_restored_model_goes_on_bit_for_bit() {
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..5_000);
        model.observe(&input(5_000, 99));
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        let mut again = Model::new(OPTIONS);
        again.restore(&bytes).unwrap();
        for n in 5_001..9_000 {
            let slot = if n % 997 == 0 { 50 + n as usize } else { (n % 7) as usize };
            assert_eq!(model.observe(&input(n, slot)), again.observe(&input(n, slot)), "event {n}");
        }
        let bytes = [&model, &again].map(|model| {
            let mut bytes = Vec::new();
            model.checkpoint(&mut bytes);
            bytes
        });
        assert!(bytes[0] == bytes[1]);
    }

    #[test]
    fn state_bytes_cut_anywhere_are_refused_and_change_nothing() {
        const CLOCK_END: usize = 24 + 12 * 8;
        let mut model = Model::new(OPTIONS);
        routine(&mut model, 0..100);
        let mut bytes = Vec::new();
        model.checkpoint(&mut bytes);
        let mut other = Model::new(OPTIONS);
        for cut in (0..bytes.len()).step_by(997) {
            assert!(other.restore(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(other.events(), 0);
        let mut huge = bytes.clone();
        huge[CLOCK_END + 32..CLOCK_END + 36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(other.restore(&huge).unwrap_err().to_string().contains("rarity counts"));
    }

    /// Models that see events in turn, and exchange what they saw whenever each has seen `fold`; how often template 1 and the bin of `odd` still count in the
    /// first, of one event, half a half-life of the counts and one of the calibration after they were there last.
    fn left_of(lanes: usize, fold: u64) -> (f64, f64) {
        let mut models = vec![Model::new(OPTIONS); lanes];
        let mut n = 0;
        let mut see = |models: &mut Vec<Model>, events: u64, slot: usize| {
            for _ in 0..events / lanes as u64 / fold {
                for model in models.iter_mut() {
                    for _ in 0..fold {
                        model.observe(&input(n, slot));
                        model.learn(calibration::bin(if slot == 1 { 5.0 } else { 0.0 }), true);
                        n += 1;
                    }
                }
                exchange(models);
            }
        };
        see(&mut models, 60_000, 1);
        see(&mut models, 25_000, 2);
        let first = &models[0];
        (first.decayed_count(1), first.calibration.decayed_count(5.0))
    }

    fn exchange(models: &mut [Model]) {
        let seen: Vec<Outbox> = models.iter_mut().map(Model::take_outbox).collect();
        for (at, model) in models.iter_mut().enumerate() {
            let others = seen.iter().enumerate().filter(|(from, _)| *from != at);
            others.for_each(|(_, outbox)| model.absorb(outbox, |slot| Some(slot as usize), false));
        }
    }

    #[test]
    fn half_lives_are_of_as_many_events_with_several_lanes_as_with_one() {
        let alone = left_of(1, 500);
        for lanes in [2, 4, 8] {
            let together = left_of(lanes, 500);
            let ratios = [together.0 / alone.0, together.1 / alone.1];
            assert!(ratios.iter().all(|ratio| (0.9..1.1).contains(ratio)), "{lanes}: {together:?}, alone {alone:?}");
        }
    }

    #[test]
    fn two_models_that_exchange_what_they_saw_agree_on_counts() {
        let (mut left, mut right) = (Model::new(OPTIONS), Model::new(OPTIONS));
        routine(&mut left, 0..3_000);
        let outbox = left.take_outbox();
        right.absorb(&outbox, |slot| Some(slot as usize), true);
        assert_eq!(right.events(), 3_000);
        assert!((right.decayed_count(3) / left.decayed_count(3) - 1.0).abs() < 0.1);
        assert_eq!(right.shares.events(), 3_000);
        assert!(left.take_outbox().counts.is_empty());
    }
}
