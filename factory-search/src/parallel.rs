//! Work on all cores with results in the order of the items, so that the number of threads never shows in a result.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Applies `work` to each item on `threads` threads. `done` hears each result on the calling thread as soon as it is
/// there, in any order; the returned results are in the order of the items.
pub(crate) fn map<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(usize, &T) -> R + Sync,
    mut done: impl FnMut(usize, &R),
) -> Vec<R> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        let mut results = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let result = work(index, item);
            done(index, &result);
            results.push(result);
        }
        return results;
    }
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let sender = sender.clone();
                let (next, work) = (&next, &work);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(index) else { break };
                        if sender.send((index, work(index, item))).is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        for (index, result) in receiver {
            done(index, &result);
            results[index] = Some(result);
        }
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
    results.into_iter().map(|result| result.expect("a worker that did not panic sent each result")).collect()
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let items: Vec<u64> = (0..100).collect();
        for threads in [1, 2, 7] {
            let mut heard = 0;
            let squares = map(threads, &items, |_, &x| x * x, |_, _| heard += 1);
            assert_eq!(squares, items.iter().map(|x| x * x).collect::<Vec<_>>());
            assert_eq!(heard, 100);
        }
    }

    #[test]
    fn nothing_to_do_is_nothing_done() {
        assert!(map(4, &[] as &[u8], |_, &x| x, |_, _| ()).is_empty());
    }
}
