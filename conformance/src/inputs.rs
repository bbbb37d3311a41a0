//! The inputs of a form: edge cases first, then random ones, always the same for the same form.

use crate::random::Random;

/// 16-bit operands alone are tried exhaustively, in pairs where they come packed.
const EXHAUSTIVE: usize = 65536;
/// Cases of a form with one operand of more bits, or with several.
const CASES: usize = 2048;
/// Cases of an approximate form: all its answers are stored.
const APPROXIMATE: usize = 512;
/// How many of the cases combine edge values, where these have so many combinations.
const EDGES: usize = 1024;

const F32_EDGES: &[u32] = &[
    0x0000_0000,
    0x0000_0001,
    0x0000_0002,
    0x0040_0000,
    0x007f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x00ff_ffff,
    0x0100_0000,
    0x3f80_0000,
    0x3f7f_ffff,
    0x3f80_0001,
    0x3f00_0000,
    0x3eff_ffff,
    0x3f00_0001,
    0x3fc0_0000,
    0x4000_0000,
    0x4020_0000,
    0x4060_0000,
    0x3eaa_aaab,
    0x4049_0fdb,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7fc0_0000,
    0x7fff_ffff,
    0x7f80_0001,
    0x7fa1_2345,
    0x7e80_0000,
    0x7f00_0000,
    0x4b00_0000,
    0x4b80_0000,
    0x4b7f_ffff,
    0x4f00_0000,
    0x4eff_ffff,
    0x4f80_0000,
    0x4f7f_ffff,
    0x5f00_0000,
    0x5f80_0000,
    0x42fe_0000,
    0x42ff_0000,
    0x4300_0000,
    0x437f_0000,
    0x437f_8000,
    0x4380_0000,
    0x46ff_fe00,
    0x4700_0000,
    0x477f_ff00,
    0x4780_0000,
    0x477f_e000,
    0x477f_efff,
    0x477f_f000,
    0x3380_0000,
    0x3300_0000,
    0x3300_0001,
    0x387f_c000,
    0x387f_e000,
    0x3880_0000,
    0x43e0_0000,
    0x43e8_0000,
    0x43e8_0001,
    0x43f0_0000,
    0x4760_0000,
    0x4770_0000,
    0x3b00_0000,
    0x3a80_0000,
    0x3780_0000,
    0x3f80_8000,
    0x3f81_8000,
    0x3f80_7fff,
    0x3f80_8001,
    0x3f80_1000,
    0x3f80_3000,
    0x3f80_0fff,
    0x3f80_1001,
    0x3f80_2000,
    0x7f7f_8000,
    0x7f7f_f000,
    0x0000_8000,
    0x0001_8000,
    0x0000_1000,
    0x0000_3000,
    0x3c80_0000,
    0x3f8c_cccd,
    0x4120_0000,
    0x42c8_0000,
    0x0000_7fff,
    0x2000_0000,
    0x6000_0000,
    0x1fff_ffff,
];

/// A few of them, for forms with several operands.
const F32_FEW: &[u32] = &[
    0x0000_0000,
    0x0000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x3f80_0000,
    0x3f7f_ffff,
    0x3f80_0001,
    0x3f00_0000,
    0x3fc0_0000,
    0x4000_0000,
    0x3300_0000,
    0x3380_0001,
    0x4b80_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7fc0_0000,
    0x7f80_0001,
    0x7fa1_2345,
    0x7e80_0000,
    0x7f00_0000,
    0x2000_0000,
    0x6000_0000,
    0x3eaa_aaab,
];

const F64_EDGES: &[u64] = &[
    0x0000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x0010_0000_0000_0001,
    0x3ff0_0000_0000_0000,
    0x3fef_ffff_ffff_ffff,
    0x3ff0_0000_0000_0001,
    0x3fe0_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0x4000_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x400c_0000_0000_0000,
    0x3fd5_5555_5555_5555,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x7ff0_0000_0000_0001,
    0x7ff4_5678_9abc_def0,
    0x7fd0_0000_0000_0000,
    0x3ca0_0000_0000_0000,
    0x3ca0_0000_0000_0001,
    0x4330_0000_0000_0000,
    0x4340_0000_0000_0000,
    0x41e0_0000_0000_0000,
    0x41df_ffff_ffc0_0000,
    0x41ef_ffff_ffe0_0000,
    0x41f0_0000_0000_0000,
    0x43e0_0000_0000_0000,
    0x43f0_0000_0000_0000,
    0x43df_ffff_ffff_ffff,
    0x405f_c000_0000_0000,
    0x406f_f000_0000_0000,
    0x40ef_ffe0_0000_0000,
    0x47ef_ffff_e000_0000,
    0x47ef_ffff_f000_0000,
    0x47f0_0000_0000_0000,
    0x3810_0000_0000_0000,
    0x380f_ffff_c000_0000,
    0x36a0_0000_0000_0000,
    0x3690_0000_0000_0000,
    0x3690_0000_0000_0001,
    0x3ff0_0000_1000_0000,
    0x3ff0_0000_3000_0000,
    0x40ef_fc00_0000_0000,
    0x40ef_fe00_0000_0000,
    0x3e70_0000_0000_0000,
    0x3e60_0000_0000_0000,
    0x2000_0000_0000_0000,
    0x6000_0000_0000_0000,
    0x3ff0_2000_0000_0000,
    0x3ff0_6000_0000_0000,
    0x3ff0_1000_0000_0000,
    0x0350_0000_0000_0000,
];

const F16_FEW: &[u16] = &[
    0x0000, 0x0001, 0x03ff, 0x0400, 0x0401, 0x3c00, 0x3bff, 0x3c01, 0x3800, 0x3e00, 0x4000, 0x7bff, 0x7c00,
    0x7e00, 0x7fff, 0x7c01, 0x7d23, 0x1000, 0x0800, 0x6800, 0x7800, 0x3555, 0x1400, 0x0c00,
];

const BF16_FEW: &[u16] = &[
    0x0000, 0x0001, 0x007f, 0x0080, 0x0081, 0x3f80, 0x3f7f, 0x3f81, 0x3f00, 0x3fc0, 0x4000, 0x7f7f, 0x7f80,
    0x7fc0, 0x7fff, 0x7f81, 0x7fa3, 0x3b80, 0x3b00, 0x4300, 0x7f00, 0x3eab, 0x2000, 0x6000,
];

const AMOUNTS: &[u32] = &[
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    17,
    23,
    24,
    30,
    31,
    32,
    33,
    47,
    48,
    62,
    63,
    64,
    65,
    127,
    128,
    254,
    255,
    256,
    257,
    0x1_0000,
    0x8000_0000,
    0x8000_001f,
    0xffff_ffff,
    0xffff_ff00,
];

/// Where an integer of so many bits can go wrong.
fn integer_edges(bits: u32) -> Vec<u64> {
    let top = 1u64 << (bits - 1);
    let all = u64::MAX >> (64 - bits);
    let mut edges =
        vec![0, 1, 2, 3, 7, top, top - 1, top + 1, all, all - 1, all - 2, 0x5555_5555_5555_5555 & all];
    edges.extend([
        0xaaaa_aaaa_aaaa_aaaa & all,
        0x0123_4567_89ab_cdef & all,
        0x80ff_7f01_80ff_7f01 & all,
        100,
        10,
    ]);
    for bit in [7, 8, 15, 16, 23, 24, 31, 32, 47, 48] {
        if bit < bits {
            edges.extend([
                1 << bit,
                (1 << bit) - 1,
                (1u64 << bit).wrapping_neg() & all,
                ((1 << bit) + 1) & all,
            ]);
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn with_signs(values: impl Iterator<Item = u64>, bits: u32) -> Vec<u64> {
    values.flat_map(|value| [value, value | 1 << (bits - 1)]).collect()
}

fn packed(few: &[u64], bits: u32) -> Vec<u64> {
    let mut edges = Vec::new();
    for (index, &low) in few.iter().enumerate() {
        edges.push(low | few[(index * 7 + 3) % few.len()] << bits);
    }
    edges
}

/// The edge values of a kind; `alone` when the form has no other operand.
fn edges(kind: &str, alone: bool) -> Vec<u64> {
    let wide = |values: &[u32]| with_signs(values.iter().map(|&value| u64::from(value)), 32);
    let halves = |values: &[u16]| with_signs(values.iter().map(|&value| u64::from(value)), 16);
    match kind {
        "pred" | "mostly" => vec![0, 1],
        "f32" => wide(if alone { F32_EDGES } else { F32_FEW }),
        "f32pos" | "f32exp" | "f32tanh" => wide(F32_EDGES),
        "f32trig" => {
            let small = |value: &&u32| f32::from_bits(**value).is_nan() || f32::from_bits(**value) < 314.0;
            wide(&F32_EDGES.iter().filter(small).copied().collect::<Vec<_>>())
        }
        "f64" => {
            let values = if alone { F64_EDGES } else { &F64_EDGES[..24] };
            with_signs(values.iter().copied(), 64)
        }
        "f16" => halves(F16_FEW),
        "bf16" => halves(BF16_FEW),
        "f16x2" => packed(&halves(F16_FEW), 16),
        "bf16x2" => packed(&halves(BF16_FEW), 16),
        "u16x2" | "s16x2" => packed(&integer_edges(16), 16),
        "b64" | "u64" | "s64" => integer_edges(64),
        "b32" | "u32" | "s32" => integer_edges(32),
        "b16" | "u16" | "s16" => integer_edges(16),
        // Bytes come in registers of 16 bits whose upper half does not count.
        "u8" | "s8" => integer_edges(16),
        "amount" => AMOUNTS.iter().map(|&amount| u64::from(amount)).collect(),
        _ => Vec::new(),
    }
}

fn random_f32(random: &mut Random) -> u32 {
    let bits = random.bits() as u32;
    let exponent = |low: u32, count: u64, random: &mut Random| (low + random.below(count) as u32) << 23;
    match random.below(10) {
        0..=3 => bits,
        4..=6 => bits & 0x807f_ffff | exponent(119, 17, random),
        7 => bits & 0x807f_0000 | exponent(124, 7, random),
        8 => bits & 0x807f_ffff | exponent(0, 30, random),
        // Around the bits that narrower formats drop.
        _ => {
            bits & 0x807f_e000 | exponent(100, 50, random) | random.pick(&[0, 0x1000, 0x0fff, 0x1001, 0x1fff])
        }
    }
}

fn random_f64(random: &mut Random) -> u64 {
    let bits = random.bits();
    let exponent = |low: u64, count: u64, random: &mut Random| (low + random.below(count)) << 52;
    let keep = 0x800f_ffff_ffff_ffff;
    match random.below(10) {
        0..=2 => bits,
        3..=5 => bits & keep | exponent(1023 - 8, 17, random),
        6 => bits & 0x800f_ff00_0000_0000 | exponent(1020, 7, random),
        7 => bits & keep | exponent(0, 60, random),
        8 => bits & keep | exponent(1023 - 160, 320, random),
        _ => {
            bits & 0x800f_ffff_e000_0000
                | exponent(1000, 50, random)
                | random.pick(&[0, 1 << 28, (1 << 28) - 1])
        }
    }
}

fn random_f16(random: &mut Random) -> u16 {
    let bits = random.bits() as u16;
    if random.below(2) == 0 { bits } else { bits & 0x83ff | (9 + random.below(12) as u16) << 10 }
}

fn random_bf16(random: &mut Random) -> u16 {
    let bits = random.bits() as u16;
    if random.below(2) == 0 { bits } else { bits & 0x807f | (120 + random.below(14) as u16) << 7 }
}

fn random_integer(random: &mut Random, bits: u32) -> u64 {
    let all = u64::MAX >> (64 - bits);
    let value = random.bits();
    match random.below(4) {
        0 | 1 => value & all,
        2 => value >> random.below(64) & all,
        _ => (value >> random.below(64)).wrapping_neg() & all,
    }
}

/// An f32 of either sign within so many units of the one with these bits.
fn near(random: &mut Random, bits: u64, units: u64) -> u64 {
    (bits + random.below(2 * units) - units) | random.below(2) << 31
}

/// A random value of a kind; `case` is its place in the list, for kinds whose lanes belong together.
fn value(kind: &str, case: usize, random: &mut Random) -> u64 {
    let between = |random: &mut Random, low: f32, high: f32| {
        let unit = (random.bits() >> 40) as f32 / (1u64 << 24) as f32;
        u64::from((low + (high - low) * unit).to_bits())
    };
    match kind {
        "pred" => random.below(2),
        "mostly" => match case / 32 % 4 {
            0 => 1,
            1 => 0,
            2 => u64::from(random.below(32) != 0),
            _ => u64::from(random.below(32) == 0),
        },
        "f32" => u64::from(random_f32(random)),
        "f32exp" => between(random, -152.0, 130.0),
        "f32tanh" => between(random, -10.0, 10.0),
        "f32trig" => {
            if random.below(2) == 0 {
                between(random, -6.2, 6.2)
            } else {
                between(random, -314.0, 314.0)
            }
        }
        "f32pos" => match random.below(4) {
            0 => between(random, 0.5, 2.0),
            1 => u64::from(random_f32(random)),
            _ => u64::from(random.bits() as u32 & 0x7fff_ffff),
        },
        "f64" => random_f64(random),
        "f16" => u64::from(random_f16(random)),
        "bf16" => u64::from(random_bf16(random)),
        "f16x2" => u64::from(random_f16(random)) | u64::from(random_f16(random)) << 16,
        "bf16x2" => u64::from(random_bf16(random)) | u64::from(random_bf16(random)) << 16,
        "b64" | "u64" | "s64" => random_integer(random, 64),
        "b16" | "u16" | "s16" | "u8" | "s8" | "e4m3x2" | "e5m2x2" => random_integer(random, 16),
        "u16x2" | "s16x2" => random_integer(random, 16) | random_integer(random, 16) << 16,
        "amount" => {
            if random.below(4) == 0 {
                random.bits() & 0xffff_ffff
            } else {
                random.below(72)
            }
        }
        "lane" => random.below(48),
        "offset" => (random.below(80) as i64 - 40) as u64 & 0xffff_ffff,
        "clamp" => random.pick(&[31, 0, 0x181f, 0x1c1f, 0x1e1f, 0x1800, 0x1c07, 7, 0x0f0f, 0x1f1f]),
        "small" => random.below(4),
        // Products of the first two, and quotients of the first by their inverse, lie around the least normal number.
        "near" => near(random, 0x2180_0000, 40),
        "nearer" => near(random, 0x1e80_0000, 40),
        "least" => match random.below(3) {
            0 => near(random, 0x0080_0000, 4),
            1 => random.below(0x0080_0000) | random.below(2) << 31,
            _ => near(random, 0x0100_0000, 0x80_0000),
        },
        "near16" => {
            let bits = 0x2000 - 8 + random.below(16);
            bits | random.below(2) << 15
        }
        "few" => random.pick(&[0, 1, 0x8000_0000, 5, 5, 5, 7]),
        "few16" => random.pick(&[0, 1, 0x8000, 5, 5]),
        "few64" => random.pick(&[0, 1, 1 << 32, 5, 5, 5 | 1 << 63]),
        "same" | "same64" => {
            let odd = case / 32 % 2 == 1 && random.below(32) == 0;
            7 + (case as u64 / 32) * 0x1_0001 + u64::from(odd)
        }
        _ => random_integer(random, 32),
    }
}

/// Whether every value of a kind alone is tried: those of 16 bits in a register of 16, packed ones two at a time.
fn exhaustive(kinds: &[&str]) -> Option<Vec<Vec<u64>>> {
    match kinds {
        ["f16" | "bf16" | "e4m3x2" | "e5m2x2"] => {
            Some((0..EXHAUSTIVE as u64).map(|bits| vec![bits]).collect())
        }
        ["f16x2" | "bf16x2"] => {
            Some((0..EXHAUSTIVE as u64 / 2).map(|pair| vec![(2 * pair) | ((2 * pair + 1) << 16)]).collect())
        }
        _ => None,
    }
}

/// The cases of a form: for each the bits of every operand. Their number is a multiple of 128.
pub(crate) fn cases(name: &str, kinds: &[&str], approximate: bool) -> Vec<Vec<u64>> {
    let mut random = Random::named(name);
    let wanted = if approximate { APPROXIMATE } else { CASES };
    if !approximate && let Some(all) = exhaustive(kinds) {
        return all;
    }
    let alone = kinds.len() == 1;
    let lists: Vec<Vec<u64>> = kinds.iter().map(|kind| edges(kind, alone)).collect();
    let combinations = lists.iter().try_fold(1usize, |product, list| product.checked_mul(list.len()));
    let mut cases: Vec<Vec<u64>> = Vec::new();
    let most = EDGES.min(wanted / 2);
    match combinations {
        Some(0) => {}
        Some(count) if count <= most => {
            for mut index in 0..count {
                let mut case = Vec::new();
                for list in &lists {
                    case.push(list[index % list.len()]);
                    index /= list.len();
                }
                cases.push(case);
            }
            random.shuffle(&mut cases);
        }
        _ => {
            for _ in 0..most {
                cases.push(lists.iter().map(|list| random.pick(list)).collect());
            }
        }
    }
    while cases.len() < wanted {
        let index = cases.len();
        let mut case: Vec<u64> = kinds.iter().map(|kind| value(kind, index, &mut random)).collect();
        // Operands that nearly cancel, or are equal.
        if case.len() > 1 && kinds[0] == kinds[1] && random.below(6) == 0 {
            let top = 8 * crate::kind::register(kinds[0]).bytes() as u32 - 1;
            case[1] = case[0] ^ random.below(2) << top ^ random.pick(&[0, 1, 2, 3]);
        }
        cases.push(case);
    }
    cases
}
