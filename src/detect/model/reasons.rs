//! Which reasons an event is told to be odd for: of each detector that says enough, the strongest first.

use super::Judged;
use crate::arithmetic::set_bits;
use crate::event::{DETECTORS, DetectorKind, REASONS, Reason};

/// Weighted evidence below this gives no reason, nats: severity's …
const SEVERITY_REASON_AT: f32 = 0.25;

/// … and rarity's: more than one event in five is of a template as rare.
const RARITY_REASON_AT: f32 = 1.5;

/// The same for detectors that are calibrated: one event in twenty says as much by chance.
const CALIBRATED_REASON_AT: f32 = 3.0;

/// The weighted evidence from which on a detector gives its reason.
const REASONS_AT: [f32; DETECTORS] = {
    let mut least = [CALIBRATED_REASON_AT; DETECTORS];
    least[DetectorKind::Rarity as usize] = RARITY_REASON_AT;
    least[DetectorKind::Severity as usize] = SEVERITY_REASON_AT;
    least
};

const _: () = {
    let mut kind = 0;
    while kind < DETECTORS {
        assert!(REASONS_AT[kind] > 0.0, "who says nothing gives no reason");
        kind += 1;
    }
};

/// Which of a detector's reasons it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    pub is_new: bool,
    pub is_drop: bool,
    /// Of an event that is odd.
    pub leader: Option<DetectorKind>,
}

/// Reasons of weighted evidence, strongest first; among equals in the order of the detectors. What leads an odd event always is one.
#[inline]
pub(super) fn reasons(judged: &Judged, news: News) -> [Option<Reason>; REASONS] {
    let severity = judged.weighted[DetectorKind::Severity as usize];
    // Most events give none.
    if judged.strongest < RARITY_REASON_AT && severity < SEVERITY_REASON_AT && !news.is_new && news.leader.is_none() {
        return [None; REASONS];
    }
    reasons_given(&judged.weighted, news)
}

pub(super) fn reasons_given(weighted: &[f32; DETECTORS], news: News) -> [Option<Reason>; REASONS] {
    let mut reasons = [None; REASONS];
    let given = |(kind, weighted): (usize, &f32)| u32::from(*weighted >= REASONS_AT[kind]) << kind;
    let certain = u32::from(news.is_new) | news.leader.map_or(0, |leader| 1 << leader as u32);
    let mut left = weighted.iter().enumerate().map(given).fold(certain, |bits, bit| bits | bit);
    for reason in &mut reasons {
        let Some(kind) = strongest_of(left, weighted) else { break };
        *reason = Some(reason_of(kind, news));
        left &= !(1 << kind as u32);
    }
    reasons
}

/// The detector with the most evidence of those whose bits are set, the first among equals.
#[inline]
fn strongest_of(bits: u32, weighted: &[f32; DETECTORS]) -> Option<DetectorKind> {
    let of = |at: usize| weighted.get(at).copied().unwrap_or(0.0);
    let strongest = set_bits(u64::from(bits)).reduce(|best, at| if of(at) > of(best) { at } else { best })?;
    DetectorKind::ALL.get(strongest).copied()
}

fn reason_of(kind: DetectorKind, news: News) -> Reason {
    match kind {
        DetectorKind::Rarity if news.is_new => Reason::NewTemplate,
        DetectorKind::Rate if news.is_drop => Reason::RateDrop,
        _ => usual_reason(kind),
    }
}

/// Without a condition, so that it is looked up: which one it is cannot be foreseen.
fn usual_reason(kind: DetectorKind) -> Reason {
    match kind {
        DetectorKind::Rarity => Reason::RareTemplate,
        DetectorKind::Rate => Reason::RateSpike,
        DetectorKind::Numeric => Reason::NumericOutlier,
        DetectorKind::Categorical => Reason::NewValue,
        DetectorKind::Sequence => Reason::UnusualOrder,
        DetectorKind::Severity => Reason::Severity,
        DetectorKind::Silence => Reason::Silence,
        DetectorKind::Similar => Reason::SimilarIncident,
        DetectorKind::Semantic => Reason::Semantic,
    }
}
