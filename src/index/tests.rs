use super::*;
use crate::arithmetic::next_random;

const DIMENSIONS: usize = 384;

/// Like hashed texts: a few dozen numbers that are not zero, and families that share most of them.
fn vector(n: u64) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSIONS];
    let mut state = n / 16 + 1;
    for step in 0..40 {
        if step == 28 {
            state ^= n << 32;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let sign = if state >> 63 == 0 { 1.0 } else { -1.0 };
        vector[(state >> 33) as usize % DIMENSIONS] += sign;
    }
    let length = vector.iter().map(|cell: &f32| cell * cell).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|cell| *cell /= length);
    vector
}

fn index(vectors: u64) -> VectorIndex {
    let mut index = VectorIndex::new(DIMENSIONS);
    (0..vectors).for_each(|n| index.insert(n, &vector(n)).unwrap());
    index
}

#[test]
fn finds_what_is_nearest_first_and_itself_above_all() {
    let index = index(500);
    let found = index.search(&vector(123), 3).unwrap();
    assert_eq!(found[0].id, 123);
    assert!((found[0].similarity - 1.0).abs() < 1e-5 && found[0].similarity >= found[1].similarity);
    assert!(found[1..].iter().all(|hit| hit.id / 16 == 123 / 16), "its family comes next: {found:?}");
    assert_eq!(index.search(&vector(123), 0).unwrap(), []);
    let all = index.search(&vector(123), usize::MAX).unwrap();
    assert!(all.len() > 300 && all.len() <= 500 && all.iter().all(|hit| hit.similarity != 0.0), "{}", all.len());
    assert_eq!(VectorIndex::new(DIMENSIONS).search(&vector(1), 5).unwrap(), []);
}

#[test]
fn above_the_crossover_nearly_the_same_is_found_as_by_looking_at_all() {
    let index = index(CROSSOVER as u64 + 500);
    let mut shared = 0;
    for n in (0..50).map(|n| n * 49) {
        let mut query = vector(n);
        query.iter_mut().zip(vector(n + 7)).for_each(|(cell, other)| *cell = 0.8 * *cell + 0.2 * other);
        let exact = index.search_where(&query, 10, &|_| true).unwrap();
        let found = index.search(&query, 10).unwrap();
        assert_eq!(found[0], exact[0]);
        shared += exact.iter().filter(|hit| found.contains(hit)).count();
    }
    assert!(shared >= 495, "recall@10 is {}", shared as f64 / 500.0);
}

#[test]
fn a_vector_can_be_replaced_and_removed_below_and_above_the_crossover() {
    for vectors in [40, CROSSOVER as u64 + 40] {
        let mut index = index(vectors);
        index.insert(3, &vector(9_000_000)).unwrap();
        assert_eq!(index.search(&vector(9_000_000), 1).unwrap()[0].id, 3);
        assert!((0..10).all(|n| index.remove(n)) && !index.remove(3) && index.remove(vectors - 1));
        assert_eq!(index.len() as u64, vectors - 11);
        for n in 10..40.min(vectors - 1) {
            assert_eq!(index.search(&vector(n), 1).unwrap()[0].id, n);
            assert_eq!(index.get(n), Some(&*vector(n)));
        }
        assert!(index.search(&vector(3), 20).unwrap().iter().all(|hit| hit.id >= 10));
    }
    let mut index = index(1);
    assert!(index.remove(0) && index.is_empty() && !index.remove(0));
    assert_eq!(index.search(&vector(0), 1).unwrap(), []);
}

#[test]
fn what_is_near_enough_is_found_as_by_looking_at_all_whatever_was_replaced_and_removed() {
    let mut index = index(300);
    let mut state = 11u64;
    for step in 0..3_000u64 {
        let (id, of) = (next_random(&mut state) % 400, next_random(&mut state) % 400);
        match step % 3 {
            0 => _ = index.remove(id),
            _ => index.insert(id, &vector(of)).unwrap(),
        }
        if step % 10 != 0 {
            continue;
        }
        let query = vector(next_random(&mut state) % 500);
        for (most, farthest) in [(12, 0.4), (3, 0.9), (usize::MAX, 0.4), (0, 0.4), (12, 1.0), (usize::MAX, 1.5)] {
            let mut expected = index.search_where(&query, usize::MAX, &|_| true).unwrap();
            expected.retain(|hit| 1.0 - hit.similarity <= farthest);
            expected.truncate(most);
            assert_eq!(index.search_within(&query, most, farthest).unwrap(), expected, "step {step}");
        }
    }
    (20..400).for_each(|id| _ = index.remove(id));
    let listed = index.postings.as_ref().map_or(0, Postings::numbers);
    assert!(listed <= 2 * index.len() + 65, "{listed}: what is gone is crossed out, and then no more there");
    let mut empty = VectorIndex::new(DIMENSIONS);
    assert_eq!(empty.search_within(&vector(1), 5, 0.4).unwrap(), []);
    assert!(index.search_within(&vec![f32::NAN; DIMENSIONS], 5, 0.4).is_err());
    index.insert(7, &vec![0.0; DIMENSIONS]).unwrap();
    assert!(index.search_within(&vec![0.0; DIMENSIONS], 5, 0.4).unwrap().is_empty(), "near to nothing");
}

#[test]
fn only_what_is_wanted_is_found() {
    let index = index(CROSSOVER as u64 + 100);
    let found = index.search_where(&vector(160), 5, &|id| id % 2 == 1).unwrap();
    assert!(found.len() == 5 && found.iter().all(|hit| hit.id % 2 == 1));
    assert_eq!(index.search_where(&vector(160), 5, &|_| false).unwrap(), []);
}

#[test]
fn what_is_no_vector_of_its_length_is_refused_and_changes_nothing() {
    for vectors in [3, CROSSOVER as u64] {
        let mut index = index(vectors);
        let (mut nan, mut endless) = (vector(1), vector(1));
        (nan[5], endless[383]) = (f32::NAN, f32::INFINITY);
        let double = [vector(1), vector(2)].concat();
        for (bad, error) in [
            (&double[..], IndexError::Length { expected: DIMENSIONS, found: 2 * DIMENSIONS }),
            (&[], IndexError::Length { expected: DIMENSIONS, found: 0 }),
            (&nan, IndexError::NotFinite { place: 5 }),
            (&endless, IndexError::NotFinite { place: 383 }),
        ] {
            assert_eq!(index.insert(1, bad), Err(error));
            assert_eq!(index.insert(99_999, bad), Err(error));
            assert_eq!(index.search(bad, 3), Err(error));
        }
        assert_eq!((index.len() as u64, index.get(1)), (vectors, Some(&*vector(1))));
        assert_eq!(index.search(&vec![0.0; DIMENSIONS], 3).unwrap(), [], "near to nothing");
        index.insert(2, &vec![0.0; DIMENSIONS]).unwrap();
        assert!(index.search(&vector(2), 50).unwrap().iter().all(|hit| hit.id != 2));
    }
}

#[cfg(feature = "turbovec")]
#[test]
fn no_thread_starts_before_a_search_among_many_asks_for_it() {
    let mut index = index(CROSSOVER as u64 - 1);
    index.search(&vector(5), 3).unwrap();
    assert!(!index.turbo.is_built());
    index.insert(1_000_000, &vector(1_000_000)).unwrap();
    assert!(!index.turbo.is_built());
    assert_eq!(index.search(&vector(1_000_000), 3).unwrap()[0].id, 1_000_000);
    assert!(index.turbo.is_built() && !index.clone().turbo.is_built());
    index.insert(7, &vector(2_000_000)).unwrap();
    assert_eq!(index.search(&vector(2_000_000), 1).unwrap()[0].id, 7);
}
