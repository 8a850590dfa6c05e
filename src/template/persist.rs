//! The store into a checkpoint and back.

use std::collections::HashSet;
use std::sync::Arc;

use super::image::{EntryImage, ImageError, StoreImage};
use super::kind::Kind;
use super::store::{Change, Entry, StoredTemplate, TemplateOptions, TemplateStore};
use super::{Slot, tokenise};
use crate::event::TemplateId;

/// Slots a checkpoint may name, whatever the cap is now: as many as the greatest cap accepted.
pub(super) const MOST_SLOTS: usize = 1_000_000;

impl TemplateStore {
    /// Appends everything known, for a checkpoint.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        let mut entries: Vec<&Entry> = self.entries.iter().flatten().collect();
        entries.sort_unstable_by_key(|entry| entry.entered);
        let [small, main] = self.queue.slots();
        let image = StoreImage {
            entries: Vec::new(),
            free: self.free.clone(),
            small: small.collect(),
            main: main.collect(),
            merged: self.merged_total,
            evicted: self.evicted_total,
        };
        image.write_with(entries.into_iter().map(|entry| self.image_of(entry)), out);
    }

    pub(super) fn image_of(&self, entry: &Entry) -> EntryImage {
        let StoredTemplate { id, slot, text, aliases, kinds } = &entry.template;
        EntryImage {
            slot: *slot,
            generalised: entry.generalised,
            met: self.shared.is_met(*slot),
            founded: entry.founded,
            words: entry.words,
            id: id.0,
            text: text.to_vec(),
            aliases: aliases.iter().map(|alias| alias.0).collect(),
            skeletons: entry.skeletons.to_vec(),
            kinds: kinds.iter().map(|kind| kind.to_byte()).collect(),
        }
    }

    /// A store as [`Self::checkpoint`] wrote it. With a smaller cap than it had, the least recently used templates go.
    ///
    /// # Errors
    /// When the bytes are cut short or contradict themselves.
    pub fn restore(options: TemplateOptions, bytes: &[u8]) -> Result<Self, ImageError> {
        let cap = options.max_templates.max(1);
        let image = StoreImage::read(bytes, cap.max(MOST_SLOTS))?;
        let slots = image.slots().max(cap);
        Ok(Self::of_image(options, image, slots))
    }

    /// Slots that a store as [`Self::checkpoint`] wrote it has in use: no fewer than it has templates.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub fn slots_of(bytes: &[u8]) -> Result<usize, ImageError> {
        Ok(StoreImage::read(bytes, MOST_SLOTS)?.slots())
    }

    /// With so many slots, which `image` does not go beyond.
    pub(super) fn of_image(options: TemplateOptions, image: StoreImage, slots: usize) -> Self {
        let cap = options.max_templates.max(1);
        let named: HashSet<Slot> =
            image.entries.iter().map(|entry| entry.slot).chain(image.free.iter().copied()).collect();
        let mut store = Self::with_slots(options, slots);
        // Slots that the other cap had no use for come last.
        store.free.retain(|slot| !named.contains(slot));
        store.free.extend(&image.free);
        store.merged_total = image.merged;
        store.evicted_total = image.evicted;
        for entry in image.entries {
            store.restore_entry(entry);
        }
        store.queue.restore(image.small, image.main);
        store.shrink(cap);
        store.publish_tree();
        store
    }

    /// Lets slots go unused until no more than `cap` are left, those of templates last.
    pub(super) fn shrink(&mut self, cap: usize) {
        let known = self.len();
        let unused = (known + self.free.len()).saturating_sub(cap).min(self.free.len());
        self.free.drain(..unused);
        let shared = Arc::clone(&self.shared);
        for _ in cap..known {
            let Some(slot) = self.queue.evict(|slot| shared.take_met(slot)) else { return };
            self.forget(slot);
            self.evicted_total += 1;
            self.tell(Change::Evicted(slot));
        }
    }

    fn restore_entry(&mut self, image: EntryImage) {
        let slot = image.slot;
        self.place_entry(image);
        // What merges is merged already.
        self.family_of(slot);
    }

    /// Puts a template into every table but that of similar ones.
    pub(super) fn place_entry(&mut self, image: EntryImage) {
        let slot = image.slot;
        let id = TemplateId(image.id);
        let aliases: Vec<TemplateId> = image.aliases.into_iter().map(TemplateId).collect();
        image.skeletons.iter().for_each(|hash| _ = self.by_skeleton.insert(*hash, slot));
        aliases.iter().chain([&id]).for_each(|id| _ = self.by_id.insert(*id, slot));
        let tokens = tokenise::hashes_of_text(&image.text).into();
        let kinds = image.kinds.into_iter().map(Kind::from_byte).collect();
        let template = StoredTemplate { id, slot, text: image.text.into(), aliases, kinds };
        if let Some(place) = self.entries.get_mut(slot.index()) {
            let skeletons = image.skeletons.into();
            let entry = Entry {
                template,
                tokens,
                skeletons,
                entered: 0,
                generalised: image.generalised,
                words: image.words,
                founded: image.founded,
            };
            self.entry_bytes += entry.bytes();
            *place = Some(entry);
        }
        if image.generalised {
            self.enter_tree(slot);
        }
        if image.met {
            self.shared.is_current(slot, self.shared.generation(slot));
        }
    }
}
