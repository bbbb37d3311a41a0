//! The backward pass.

use factory_rmsnorm::{
    Unweighted, Weighted, Wide, bf16, f16, rms_norm_backward, rms_norm_bias_backward,
    rms_norm_residual_backward, rms_norm_residual_backward_wide, rms_norm_unweighted_backward,
};

use crate::support::{Number, as_good_as_honest, f32_sum, tensor, values, zeros};

const EPS: f64 = 1e-6;

struct Case {
    x: Vec<f64>,
    w: Vec<f64>,
    dy: Vec<f64>,
    rstd: Vec<f32>,
    more: Vec<f64>,
}

struct Gradients<F> {
    dx: Vec<F>,
    dw: Vec<F>,
    db: Vec<F>,
}

/// The formulas in f64.
fn exact(case: &Case, n: usize) -> Gradients<f64> {
    let mut made = Gradients { dx: Vec::new(), dw: vec![0.0; n], db: vec![0.0; n] };
    for (row, &rstd) in case.rstd.iter().enumerate() {
        let (rstd, at) = (f64::from(rstd), row * n);
        let mean =
            (0..n).map(|c| case.dy[at + c] * case.w[c] * case.x[at + c] * rstd).sum::<f64>() / n as f64;
        for c in 0..n {
            let h = case.x[at + c] * rstd;
            made.dx.push((case.dy[at + c] * case.w[c] - h * mean) * rstd + case.more[at + c]);
            made.dw[c] += case.dy[at + c] * h;
            made.db[c] += case.dy[at + c];
        }
    }
    made
}

/// The same in f32: rows in 32 parts, and for each column one sum, row after row.
fn honest(case: &Case, n: usize) -> Gradients<f32> {
    let mut dx = Vec::new();
    let value = |values: &[f64], at: usize| values[at] as f32;
    for (row, &rstd) in case.rstd.iter().enumerate() {
        let at = row * n;
        let g = |c: usize| value(&case.dy, at + c) * value(&case.w, c);
        let h = |c: usize| value(&case.x, at + c) * rstd;
        let mean = f32_sum((0..n).map(|c| g(c) * h(c))) / n as f32;
        dx.extend((0..n).map(|c| (g(c) - h(c) * mean) * rstd + value(&case.more, at + c)));
    }
    let rows = case.rstd.len();
    let sum = |c: usize, f: &dyn Fn(usize) -> f32| (0..rows).map(|row| f(row * n + c)).sum::<f32>();
    let dw = (0..n)
        .map(|c| sum(c, &|at| value(&case.dy, at) * (value(&case.x, at) * case.rstd[at / n])))
        .collect();
    let db = (0..n).map(|c| sum(c, &|at| value(&case.dy, at))).collect();
    Gradients { dx, dw, db }
}

fn wide<T: Number>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.wide()).collect()
}

fn rstd(x: &[f64], n: usize) -> Vec<f32> {
    let scale = |row: &[f64]| 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / n as f64 + EPS).sqrt();
    x.chunks(n).map(|row| scale(row) as f32).collect()
}

fn check<T: Number + Weighted<W>, W: Number>(sizes: &[(usize, usize)]) {
    for (index, &(m, n)) in sizes.iter().enumerate() {
        let offset = (index % 2) as f32;
        let what = format!("{m} x {n}, offset {offset}");
        let (x, dy, more): (Vec<T>, Vec<T>, Vec<T>) =
            (values(11, m * n), values(12 + index as u32, m * n), values(13, m * n));
        let w: Vec<W> = values(14, n);
        let mut case = Case {
            x: wide(&x),
            w: wide(&w).iter().map(|w| w + f64::from(offset)).collect(),
            dy: wide(&dy),
            rstd: rstd(&wide(&x), n),
            more: vec![0.0; m * n],
        };
        let scale = tensor(&case.rstd, &[m]);
        let (x, dy, w) = (tensor(&x, &[m, n]), tensor(&dy, &[m, n]), tensor(&w, &[n]));
        let (mut dx, mut dw, mut db) = (zeros::<T>(&[m, n]), zeros::<W>(&[n]), zeros::<W>(&[n]));
        let (expected, f32s) = (exact(&case, n), honest(&case, n));
        rms_norm_backward(&x, &w, &dy, &scale, &mut dx, &mut dw, offset).unwrap();
        as_good_as_honest(&format!("dx {what}"), &dx.to_vec().unwrap(), &f32s.dx, &expected.dx, m);
        as_good_as_honest(&format!("dw {what}"), &dw.to_vec().unwrap(), &f32s.dw, &expected.dw, n);
        let first = dw.to_vec().unwrap();
        rms_norm_backward(&x, &w, &dy, &scale, &mut dx, &mut dw, offset).unwrap();
        assert_eq!(first, dw.to_vec().unwrap(), "{what}: the same bits");
        if index % 2 == 1 {
            continue;
        }
        rms_norm_bias_backward(&x, &w, &dy, &scale, &mut dx, &mut dw, &mut db, offset).unwrap();
        as_good_as_honest(&format!("dx {what}"), &dx.to_vec().unwrap(), &f32s.dx, &expected.dx, m);
        as_good_as_honest(&format!("dw {what}"), &dw.to_vec().unwrap(), &f32s.dw, &expected.dw, n);
        as_good_as_honest(&format!("db {what}"), &db.to_vec().unwrap(), &f32s.db, &expected.db, n);
        case.more = wide(&more);
        let (expected, f32s) = (exact(&case, n), honest(&case, n));
        let more = tensor(&more, &[m, n]);
        rms_norm_residual_backward(&x, &w, &dy, &scale, &more, &mut dx, &mut dw, offset).unwrap();
        as_good_as_honest(&format!("dx {what}"), &dx.to_vec().unwrap(), &f32s.dx, &expected.dx, m);
        as_good_as_honest(&format!("dw {what}"), &dw.to_vec().unwrap(), &f32s.dw, &expected.dw, n);
    }
}

fn check_wide<T: Number + Wide<W>, W: Number>() {
    for (m, n) in [(4, 7), (40, 256), (3, 4096)] {
        let what = format!("{m} x {n}");
        let (x, dy, more): (Vec<f32>, Vec<T>, Vec<f32>) =
            (values(21, m * n), values(22, m * n), values(23, m * n));
        let w: Vec<W> = values(24, n);
        let case =
            Case { x: wide(&x), w: wide(&w), dy: wide(&dy), rstd: rstd(&wide(&x), n), more: wide(&more) };
        let (expected, f32s) = (exact(&case, n), honest(&case, n));
        let (mut dx, mut dr, mut dw) = (zeros::<T>(&[m, n]), zeros::<f32>(&[m, n]), zeros::<W>(&[n]));
        rms_norm_residual_backward_wide(
            &tensor(&x, &[m, n]),
            &tensor(&w, &[n]),
            &tensor(&dy, &[m, n]),
            &tensor(&case.rstd, &[m]),
            &tensor(&more, &[m, n]),
            &mut dx,
            &mut dr,
            &mut dw,
            0.0,
        )
        .unwrap();
        as_good_as_honest(&format!("dx {what}"), &dx.to_vec().unwrap(), &f32s.dx, &expected.dx, m);
        as_good_as_honest(&format!("dresidual {what}"), &dr.to_vec().unwrap(), &f32s.dx, &expected.dx, m);
        as_good_as_honest(&format!("dw {what}"), &dw.to_vec().unwrap(), &f32s.dw, &expected.dw, n);
    }
}

fn check_unweighted<T: Number + Unweighted>() {
    for (m, n) in [(3, 7), (5, 256), (2, 4096)] {
        let (x, dy): (Vec<T>, Vec<T>) = (values(31, m * n), values(32, m * n));
        let case = Case {
            x: wide(&x),
            w: vec![1.0; n],
            dy: wide(&dy),
            rstd: rstd(&wide(&x), n),
            more: vec![0.0; m * n],
        };
        let mut dx = zeros::<T>(&[m, n]);
        rms_norm_unweighted_backward(
            &tensor(&x, &[m, n]),
            &tensor(&dy, &[m, n]),
            &tensor(&case.rstd, &[m]),
            &mut dx,
        )
        .unwrap();
        as_good_as_honest(
            &format!("{m} x {n}"),
            &dx.to_vec().unwrap(),
            &honest(&case, n).dx,
            &exact(&case, n).dx,
            m,
        );
    }
}

/// More rows than blocks stay, rows of one element, lengths that no vector divides, rows in clusters.
const SIZES: [(usize, usize); 9] =
    [(3, 1), (5, 7), (1500, 64), (4, 255), (700, 256), (2, 1000), (9, 4096), (2, 4097), (2, 16384)];

#[test]
fn bf16_with_f32_weights() {
    check::<bf16, f32>(&SIZES);
    check::<bf16, f32>(&[(1, 65536)]);
}

#[test]
fn bf16_with_bf16_weights() {
    check::<bf16, bf16>(&SIZES);
}

#[test]
fn f16_with_f32_weights() {
    check::<f16, f32>(&SIZES);
}

#[test]
fn f16_with_f16_weights() {
    check::<f16, f16>(&SIZES);
}

#[test]
fn f32_with_f32_weights() {
    check::<f32, f32>(&SIZES);
}

#[test]
fn with_a_wide_residual() {
    check_wide::<bf16, f32>();
    check_wide::<bf16, bf16>();
    check_wide::<f16, f32>();
    check_wide::<f16, f16>();
}

#[test]
fn without_a_weight() {
    check_unweighted::<bf16>();
    check_unweighted::<f16>();
    check_unweighted::<f32>();
}

/// Nothing adds up to nothing, and is written.
#[test]
fn no_rows_give_zero_gradients() {
    let (x, dy) = (zeros::<bf16>(&[0, 64]), zeros::<bf16>(&[0, 64]));
    let (w, rstd) = (tensor(&[1.0f32; 64], &[64]), zeros::<f32>(&[0]));
    let (mut dx, mut dw, mut db) =
        (zeros::<bf16>(&[0, 64]), tensor(&[7.0f32; 64], &[64]), tensor(&[7.0f32; 64], &[64]));
    rms_norm_backward(&x, &w, &dy, &rstd, &mut dx, &mut dw, 0.0).unwrap();
    assert_eq!(dw.to_vec().unwrap(), [0.0; 64]);
    dw = tensor(&[7.0f32; 64], &[64]);
    rms_norm_bias_backward(&x, &w, &dy, &rstd, &mut dx, &mut dw, &mut db, 0.0).unwrap();
    assert_eq!(dw.to_vec().unwrap(), [0.0; 64]);
    assert_eq!(db.to_vec().unwrap(), [0.0; 64]);
}
