//! Launches as one graph with events around it, and what such a window costs by itself.

use std::cell::Cell;
use std::time::Instant;

use super::device::{Gpu, ReadyLaunch};
use super::driver::{Driver, DriverError, Handle};
use super::figures::{Overhead, median};

/// Empty kernels in the larger of the two graphs that the overhead is taken from.
const EMPTY_KERNELS: usize = 64;
/// Runs of each of them, the first ones not counted.
const EMPTY_RUNS: usize = 12;

/// A window's times in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Between the events on the device.
    pub(super) seconds: f64,
    /// From the end event's arrival at the host until the whole device was idle.
    pub(super) lag: f64,
    /// Of the host, in the call that launches the graph.
    pub(super) host: f64,
}

/// Launches as one graph, with the events around it.
pub(super) struct Graph {
    driver: &'static Driver,
    stream: Handle,
    graph: Handle,
    exec: Handle,
    events: [Handle; 2],
    /// Seconds for which the device is kept busy before the first event, so that the host's work to launch the graph is over
    /// when the window begins.
    head_start: Cell<f64>,
}

/// The first head start, and the bounds of the later ones: twice what the host needed for the launch and a little more.
pub(super) const HEAD_START: f64 = 300e-6;
const HEAD_START_BOUNDS: (f64, f64) = (100e-6, 20e-3);

pub(super) fn head_start(host: f64) -> f64 {
    (2.0 * host + 50e-6).clamp(HEAD_START_BOUNDS.0, HEAD_START_BOUNDS.1)
}

impl Graph {
    /// Captures launches on every set.
    pub(super) fn capture(gpu: &Gpu, launches: &[Vec<ReadyLaunch>]) -> Result<Graph, DriverError> {
        Graph::of(gpu, || launches.iter().flatten().try_for_each(|launch| launch.queue(gpu)))
    }

    /// Captures whatever a function queues.
    fn of(gpu: &Gpu, queue: impl FnOnce() -> Result<(), DriverError>) -> Result<Graph, DriverError> {
        let null = std::ptr::null_mut();
        let mut this = Graph {
            driver: gpu.driver,
            stream: gpu.stream,
            graph: null,
            exec: null,
            events: [null; 2],
            head_start: Cell::new(HEAD_START),
        };
        // SAFETY: stream and handles are of the current context; pointers are to live variables. A capture that was begun is
        // ended whatever the launches say.
        unsafe {
            // 1: only this thread is kept from calls that a capture forbids.
            gpu.driver.capture_begin(gpu.stream, 1)?;
            let queued = queue();
            let ended = gpu.driver.capture_end(gpu.stream, &mut this.graph);
            queued?;
            ended?;
            gpu.driver.graph_instantiate(&mut this.exec, this.graph, 0)?;
            gpu.driver.graph_upload(this.exec, gpu.stream)?;
            for event in &mut this.events {
                gpu.driver.event_create(event, 0)?;
            }
        }
        gpu.wait()?;
        Ok(this)
    }

    /// Queues one run without looking at it.
    pub(super) fn queue(&self, gpu: &Gpu) -> Result<(), DriverError> {
        // SAFETY: graph and stream are of the current context.
        unsafe { self.driver.graph_launch(self.exec, gpu.stream) }
    }

    /// Times one run. The host is ahead of the device when the window begins, so its own time is not in it. The device was
    /// waited for as a whole in the end: work that goes on beyond the end event shows in the lag.
    pub(super) fn time(&self, gpu: &Gpu) -> Result<Window, DriverError> {
        let [start, end] = self.events;
        let mut milliseconds = 0.0f32;
        gpu.delay(self.head_start.get())?;
        // SAFETY: events, graph and stream are of the current context; the pointer is to a live float.
        unsafe {
            gpu.driver.event_record(start, gpu.stream)?;
            let before = Instant::now();
            gpu.driver.graph_launch(self.exec, gpu.stream)?;
            let host = before.elapsed().as_secs_f64();
            self.head_start.set(head_start(host));
            gpu.driver.event_record(end, gpu.stream)?;
            gpu.driver.event_synchronize(end)?;
            let ended = Instant::now();
            gpu.driver.context_synchronize()?;
            let lag = ended.elapsed().as_secs_f64();
            gpu.driver.event_elapsed(&mut milliseconds, start, end)?;
            Ok(Window { seconds: f64::from(milliseconds) * 1e-3, lag, host })
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: what was queued is waited for first, so nobody uses the handles, or the memory that the owner frees next,
        // any more; null handles are left out. A lost context refuses, harmlessly.
        unsafe {
            let _ = self.driver.stream_synchronize(self.stream);
            for event in self.events.into_iter().filter(|event| !event.is_null()) {
                let _ = self.driver.event_destroy(event);
            }
            if !self.exec.is_null() {
                let _ = self.driver.graph_exec_destroy(self.exec);
            }
            if !self.graph.is_null() {
                let _ = self.driver.graph_destroy(self.graph);
            }
        }
    }
}

/// What windows and launches cost on this device and host, measured with kernels that do nothing.
pub(super) fn overhead(gpu: &Gpu) -> Result<Overhead, DriverError> {
    let graph = |kernels: usize| Graph::of(gpu, || (0..kernels).try_for_each(|_| gpu.nothing()));
    let times = |graph: &Graph| -> Result<(Vec<f64>, Vec<f64>), DriverError> {
        let windows = (0..EMPTY_RUNS).map(|_| graph.time(gpu)).collect::<Result<Vec<_>, _>>()?;
        let counted = &windows[EMPTY_RUNS / 4..];
        Ok((
            counted.iter().map(|window| window.seconds).collect(),
            counted.iter().map(|window| window.host).collect(),
        ))
    };
    let (one, host) = times(&graph(1)?)?;
    let (many, _) = times(&graph(EMPTY_KERNELS)?)?;
    let (window_seconds, kernel_seconds) = Overhead::of(&one, &many, EMPTY_KERNELS);
    let mut launches = Vec::new();
    for _ in 0..EMPTY_KERNELS {
        let before = Instant::now();
        gpu.nothing()?;
        launches.push(before.elapsed().as_secs_f64());
    }
    gpu.wait()?;
    Ok(Overhead {
        window_seconds,
        kernel_seconds,
        graph_launch_seconds: median(&host),
        launch_seconds: median(&launches),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_gets_the_time_that_it_needs() {
        assert_eq!(head_start(0.0), 100e-6);
        assert!((head_start(1e-3) - 2.05e-3).abs() < 1e-9);
        assert_eq!(head_start(1.0), 20e-3);
    }
}
