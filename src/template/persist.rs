//! The store into a checkpoint and back.

use super::image::{EntryImage, ImageError, StoreImage};
use super::kind::Kind;
use super::store::{Entry, StoredTemplate, TemplateOptions, TemplateStore};
use super::tokenise;
use crate::event::TemplateId;

impl TemplateStore {
    /// Appends everything known, for a checkpoint.
    pub fn checkpoint(&self, out: &mut Vec<u8>) {
        let mut entries: Vec<&Entry> = self.entries.iter().flatten().collect();
        entries.sort_unstable_by_key(|entry| entry.entered);
        let [small, main] = self.queue.slots();
        StoreImage {
            entries: entries.into_iter().map(|entry| self.image_of(entry)).collect(),
            free: self.free.clone(),
            small: small.collect(),
            main: main.collect(),
            merged: self.merged_total,
            evicted: self.evicted_total,
        }
        .write(out);
    }

    fn image_of(&self, entry: &Entry) -> EntryImage {
        let StoredTemplate { id, slot, text, aliases, kinds } = &entry.template;
        EntryImage {
            slot: *slot,
            generalised: entry.generalised,
            met: self.shared.is_met(*slot),
            id: id.0,
            text: text.to_vec(),
            aliases: aliases.iter().map(|alias| alias.0).collect(),
            skeletons: entry.skeletons.clone(),
            kinds: kinds.iter().map(|kind| kind.to_byte()).collect(),
        }
    }

    /// A store as [`Self::checkpoint`] wrote it.
    ///
    /// # Errors
    /// When the bytes are cut short or contradict themselves, or hold slots beyond `options.max_templates`.
    pub fn restore(options: TemplateOptions, bytes: &[u8]) -> Result<Self, ImageError> {
        let image = StoreImage::read(bytes, options.max_templates.max(1))?;
        let mut store = Self::new(options);
        // A larger cap than before: the slots beyond come last.
        let named = image.entries.iter().map(|entry| entry.slot).chain(image.free.iter().copied());
        let most = named.map(|slot| slot.0 + 1).max().unwrap_or(0);
        store.free.retain(|slot| slot.0 >= most);
        store.free.extend(&image.free);
        store.merged_total = image.merged;
        store.evicted_total = image.evicted;
        for entry in image.entries {
            store.restore_entry(entry);
        }
        store.queue.restore(image.small, image.main);
        store.publish_tree();
        Ok(store)
    }

    fn restore_entry(&mut self, image: EntryImage) {
        let slot = image.slot;
        let id = TemplateId(image.id);
        let aliases: Vec<TemplateId> = image.aliases.into_iter().map(TemplateId).collect();
        image.skeletons.iter().for_each(|hash| _ = self.by_skeleton.insert(*hash, slot));
        aliases.iter().chain([&id]).for_each(|id| _ = self.by_id.insert(*id, slot));
        let tokens = tokenise::hashes_of_text(&image.text).into();
        let kinds = image.kinds.into_iter().map(Kind::from_byte).collect();
        let template = StoredTemplate { id, slot, text: image.text.into(), aliases, kinds };
        if let Some(place) = self.entries.get_mut(slot.index()) {
            let skeletons = image.skeletons;
            *place = Some(Entry { template, tokens, skeletons, entered: 0, generalised: image.generalised });
        }
        if image.met {
            self.shared.is_current(slot, self.shared.generation(slot));
        }
        // What merges is merged already.
        self.family_of(slot);
    }
}
