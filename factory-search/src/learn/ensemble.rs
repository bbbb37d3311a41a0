//! Several forests that were fitted on different draws of the same data: their mean is a prediction, their disagreement
//! says how sure it is.

use smartcore::ensemble::extra_trees_regressor::{ExtraTreesRegressor, ExtraTreesRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::Random;

/// Forests of an ensemble.
pub(crate) const MEMBERS: usize = 8;
/// Trees of a forest.
const TREES: usize = 6;

type Forest = ExtraTreesRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// Extremely randomised trees (Geurts, Ernst and Wehenkel, 2006), several forests of them.
#[derive(Debug)]
pub struct Ensemble {
    forests: Vec<Forest>,
}

impl Ensemble {
    /// Fits `targets` by `rows`, all of one length. `None` when there are too few rows to learn anything from, or the
    /// regression refuses them.
    pub fn fit(rows: &[Vec<f64>], targets: &[f64], seed: u64) -> Option<Ensemble> {
        let (count, columns) = (rows.len(), rows.first().map_or(0, Vec::len));
        if count < 4 || columns == 0 || count != targets.len() {
            return None;
        }
        let mut random = Random::new(seed ^ 0x6c62_272e_07bb_0142);
        let mut forests = Vec::new();
        for _ in 0..MEMBERS {
            // Each forest sees as many rows as there are, drawn with repetition.
            let drawn: Vec<usize> = (0..count).map(|_| random.below(count)).collect();
            let x = DenseMatrix::from_2d_vec(&drawn.iter().map(|&row| rows[row].clone()).collect()).ok()?;
            let y: Vec<f64> = drawn.iter().map(|&row| targets[row]).collect();
            let parameters = ExtraTreesRegressorParameters::default()
                .with_n_trees(TREES)
                .with_max_depth(14)
                .with_min_samples_leaf(2)
                .with_min_samples_split(4)
                .with_m((columns / 2).max(1))
                .with_seed(random.next());
            forests.push(Forest::fit(&x, &y, parameters).ok()?);
        }
        Some(Ensemble { forests })
    }

    /// What each forest predicts for each row: one list a forest.
    pub fn predict(&self, rows: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
        if rows.is_empty() {
            return Some(vec![Vec::new(); self.forests.len()]);
        }
        let x = DenseMatrix::from_2d_vec(&rows.to_vec()).ok()?;
        self.forests.iter().map(|forest| forest.predict(&x).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Vec<Vec<f64>>, Vec<f64>) {
        let rows: Vec<Vec<f64>> = (0..200).map(|i| vec![f64::from(i % 20), f64::from(i / 20)]).collect();
        let targets = rows.iter().map(|row| if row[0] > 9.0 { 1.0 } else { -1.0 } + 0.1 * row[1]).collect();
        (rows, targets)
    }

    #[test]
    fn a_step_is_learnt_and_the_same_seed_says_the_same() {
        let (rows, targets) = data();
        let predict = |seed| {
            let ensemble = Ensemble::fit(&rows, &targets, seed).expect("200 rows are enough");
            ensemble.predict(&[vec![3.0, 5.0], vec![15.0, 5.0]]).expect("rows of the right length")
        };
        let found = predict(7);
        assert_eq!(found.len(), MEMBERS);
        for member in &found {
            assert!(member[0] < 0.0 && member[1] > 1.0, "{member:?}");
        }
        assert_eq!(found, predict(7));
        assert_ne!(found, predict(8));
    }

    #[test]
    fn nothing_is_learnt_from_nothing() {
        assert!(Ensemble::fit(&[], &[], 1).is_none());
        assert!(Ensemble::fit(&[vec![1.0], vec![2.0]], &[1.0, 2.0], 1).is_none());
    }
}
