//! A profile for people.

use super::{Facts, LaunchFacts, LineFacts, TargetFacts};
use crate::print::{seconds, table};

/// Shares below this are left out of tables.
const SHOWN: f64 = 0.0005;

pub(super) fn show(facts: &Facts, lines: usize) {
    println!("{}", facts.subject);
    if let Some(sizes) = &facts.sizes {
        println!("  at {sizes}, variant {}", facts.variant.as_deref().unwrap_or("-"));
    }
    for launch in &facts.launches {
        println!();
        show_launch(launch, lines);
    }
}

fn show_launch(launch: &LaunchFacts, lines: usize) {
    let cluster = match launch.cluster_blocks {
        1 => String::new(),
        blocks => format!(", clusters of {blocks}"),
    };
    println!("{}: {} blocks of {} threads{cluster}", launch.entry, launch.grid_blocks, launch.block_threads);
    if launch.blocks_run < launch.grid_blocks {
        println!("  {} blocks were run; figures are scaled to all of them", launch.blocks_run);
    }
    let spills = match launch.spill_bytes_a_thread {
        Some(0) => ", no spills".to_owned(),
        Some(bytes) => format!(", {bytes} bytes of spills a thread"),
        None => String::new(),
    };
    println!("  {} registers a thread{spills} ({})", launch.registers, launch.registers_from);
    println!("  {} bytes of shared memory a block", launch.shared_bytes);
    let totals = &launch.totals;
    println!();
    println!(
        "  instructions       {} of warps, {} of threads",
        short(totals.warp_instructions),
        short(totals.thread_instructions)
    );
    println!(
        "  global memory      {}B loaded, {}B stored",
        short(totals.global_load_bytes),
        short(totals.global_store_bytes)
    );
    println!(
        "  sectors            {} touched, {} needed ({:.0} %)",
        short(totals.sectors_requested),
        short(totals.sectors_needed),
        percent(totals.sectors_needed, totals.sectors_requested)
    );
    println!(
        "  traffic at least   {}B of blocks (L1 misses), {}B of the launch (memory)",
        short(totals.block_bytes),
        short(totals.launch_bytes)
    );
    println!(
        "  shared memory      {}B in {} passes, {} of them bank conflicts",
        short(totals.shared_bytes),
        short(totals.shared_passes),
        short(totals.shared_bank_conflicts)
    );
    for (name, value) in [
        ("asynchronous", totals.async_bytes),
        ("atomics", totals.atomics),
        ("barriers", totals.barriers),
        ("waited (estimate)", totals.waited),
        ("divergent", totals.divergent_branches),
    ] {
        if value > 0.0 {
            println!("  {name:<18} {}", short(value));
        }
    }
    for (name, operations) in &launch.tensor_operations {
        println!("  tensor {name:<11} {} operations", short(*operations));
    }
    println!();
    let cells: Vec<[String; 4]> = launch
        .pipes
        .iter()
        .map(|pipe| {
            let share = percent(pipe.warp, totals.warp_instructions);
            let lanes = percent(pipe.thread, 32.0 * pipe.warp);
            [pipe.name.to_owned(), short(pipe.warp), format!("{share:.1} %"), format!("{lanes:.0} %")]
        })
        .collect();
    table(["  pipe", "warp instructions", "share", "lanes active"], &indented(cells));
    println!();
    show_lines("PTX line", &launch.lines, totals.warp_instructions, lines);
    if !launch.sources.is_empty() {
        println!();
        show_lines("source line", &launch.sources, totals.warp_instructions, lines);
    }
    println!();
    let cells: Vec<[String; 7]> = launch.targets.iter().map(target_row).collect();
    table(
        ["  target", "blocks/SM", "occupancy", "limited by", "floor", "bound by", "modelled"],
        &indented(cells),
    );
    for target in &launch.targets {
        let roofs: Vec<String> =
            target.roofs.iter().take(5).map(|(name, time)| format!("{name} {}", seconds(*time))).collect();
        println!("  {}: {}", target.name, roofs.join(", "));
    }
}

fn target_row(target: &TargetFacts) -> [String; 7] {
    let (bound, floor) = target.roofs.first().copied().unwrap_or(("nothing", 0.0));
    [
        target.name.to_owned(),
        target.blocks.to_string(),
        format!("{:.0} %", 100.0 * target.occupancy),
        target.occupancy_limit.to_owned(),
        seconds(floor),
        bound.to_owned(),
        target.modelled_seconds.map_or("does not fit".to_owned(), seconds),
    ]
}

fn show_lines(heading: &str, lines: &[LineFacts], all: f64, count: usize) {
    let cells: Vec<[String; 7]> = lines
        .iter()
        .take(count)
        .filter(|line| line.warp > SHOWN * all)
        .map(|line| {
            let place = match &line.file {
                Some(file) => format!("{}:{}", file.rsplit(['/', '\\']).next().unwrap_or(file), line.line),
                None => line.line.to_string(),
            };
            let sectors = match line.sectors_requested {
                0.0 => String::new(),
                requested => {
                    format!("{} ({:.0} %)", short(requested), percent(line.sectors_needed, requested))
                }
            };
            let blank = |value: f64| if value == 0.0 { String::new() } else { short(value) };
            [
                place,
                format!("{:.1} %", percent(line.warp, all)),
                sectors,
                blank(line.shared_bank_conflicts),
                blank(line.waited),
                blank(line.divergent),
                line.text.chars().take(72).collect(),
            ]
        })
        .collect();
    let heading = format!("  {heading}");
    table([&heading, "share", "sectors (used)", "conflicts", "waited", "splits", ""], &indented(cells));
}

fn indented<const N: usize>(mut rows: Vec<[String; N]>) -> Vec<[String; N]> {
    for row in &mut rows {
        row[0].insert_str(0, "  ");
    }
    rows
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 100.0 }
}

/// Three digits and a prefix.
fn short(value: f64) -> String {
    for (limit, prefix) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if value >= limit {
            let scaled = value / if prefix == "k" { 1e3 } else { limit };
            let digits = if scaled >= 100.0 {
                0
            } else if scaled >= 10.0 {
                1
            } else {
                2
            };
            return format!("{scaled:.digits$} {prefix}");
        }
    }
    format!("{value:.0} ")
}
