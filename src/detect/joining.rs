//! Joining models: what several hosts learned, as if one had.
//!
//! A model that is joined counts as having seen its events at the same time as the one it is joined to: each side's decayed counts are taken at
//! their present weight and added. What an average or a range rests on adds up with it; what belongs to one host alone is left out.
//!
//! | part | joined |
//! |---|---|
//! | rarity | decayed counts added; the rate of new templates averaged by events |
//! | rate | windows, their sums and squares added: the spread between hosts counts as spread |
//! | numeric | the wider range; mean and distance averaged by numbers; what leaves its range again and again united |
//! | categorical | sets united; a value that only one had counts as just grown |
//! | sequence | counts of pairs and triples added, surprisals averaged |
//! | calibrations | histograms added: pooled |
//! | seasons | hours united, the newest where they do not fit; of an hour the higher level |
//! | the threshold led by past alerts | the correction averaged by events, as are the events an hour; between lanes left out: each leads its own |
//! | silence | left out: see below |
//! | holds, the last events of streams | left out: when an event was last seen is a host's own |
//!
//! **Silence** is not joined, though how regular a template is on a fleet could be had. What a silence says is that something stopped *here*: a host that was
//! given another role, or whose heartbeat is set to another interval, would alert for what it was never meant to do, and nobody could have
//! taught it otherwise. What it would gain is little: a series is regular after a hundred gaps, which a heartbeat of seconds has in minutes.
//!
//! Nothing here depends on slots being the same: [`Moved`] tells where each template of the other model is in this one. Joined in the same
//! order the result is the same to the bit; in another order it may round otherwise.
//!
//! Afterwards [`Model::settle`](super::Model::settle) brings decayed sums down to what they are on a host that has run for long: many hosts know
//! more templates than one, and yet a new host must be able to outweigh them as fast as an old one changes its mind.

/// Where a template of another model is in this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its slot here.
    pub slot: usize,
    /// It has the same wildcards here: what was learned of each is of the same.
    pub keeps_wildcards: bool,
}

/// Where all of them are, by the other model's slots; `None` for what is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves(Vec<Option<Moved>>);

impl Moves {
    /// By the other model's slots.
    pub const fn new(moves: Vec<Option<Moved>>) -> Self {
        Self(moves)
    }

    /// Where the template of the other model's slot is here.
    pub fn of(&self, slot: usize) -> Option<Moved> {
        self.0.get(slot).copied().flatten()
    }

    /// The other model's slots that are here, and where.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Moved)> + '_ {
        self.0.iter().enumerate().filter_map(|(slot, moved)| Some((slot, (*moved)?)))
    }
}

/// What is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the other model is another host's.
    Host,
    /// What lanes of one engine do not exchange; the rest each of them has already.
    Lane,
}
