//! For which sizes a lowered entry is right, and how it is launched.

use factory_spec::{BoundSpec, LaunchPlan, ParamPlan, SizeExpr, SizeId, SizeKind, Variant};

use super::config::{Config, Keep};
use super::lower::piece_bytes;
use super::split::{Along, Split};

/// The most that a 31-bit index reaches.
const NARROW: u64 = i32::MAX as u64;

/// Least, greatest (if any) and common divisor of a size by its own declaration.
pub(crate) fn bounds(spec: &BoundSpec, size: SizeId) -> (u64, Option<u64>, u64) {
    match &spec.size(size).kind {
        SizeKind::Free { min, max, multiple_of } => (*min, *max, (*multiple_of).max(1)),
        SizeKind::Fixed(value) => (*value, Some(*value), (*value).max(1)),
        SizeKind::Derived(_) => (0, None, 1),
    }
}

/// The most that a product of sizes can be, where all are bounded.
fn product_max(spec: &BoundSpec, sizes: &[SizeId]) -> Option<u64> {
    sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(bounds(spec, size).1?))
}

/// The exact condition on the sizes.
pub(super) fn condition(spec: &BoundSpec, split: &Split, config: &Config) -> SizeExpr {
    let columns = split.column_count(spec);
    let rows = split.row_count(spec);
    let mut clauses: Vec<SizeExpr> = Vec::new();
    let vector = u64::from(config.vector);
    let capacity = config.capacity();
    let bounded = split.reduces && config.keep != Keep::Reread;
    if bounded && config.exact {
        clauses.push(columns.clone().eq(SizeExpr::constant(capacity as i64)));
    } else {
        let has_dense = split.tensors.iter().any(|access| access.along == Along::Dense);
        let divides = split.columns.iter().any(|&size| bounds(spec, size).2.is_multiple_of(vector));
        if has_dense && vector > 1 && !divides {
            clauses.push(columns.clone().rem(SizeExpr::constant(vector as i64)).eq(SizeExpr::constant(0)));
        }
        if bounded && product_max(spec, &split.columns).is_none_or(|max| max > capacity) {
            clauses.push(columns.clone().le(SizeExpr::constant(capacity as i64)));
        }
    }
    if !config.wide {
        // Single sizes first: what they say, their products need not.
        for size in split.rows.iter().chain(&split.columns) {
            let single = split.columns.as_slice() == [*size] && bounded;
            if !single && bounds(spec, *size).1.is_none_or(|max| max > NARROW) {
                clauses.push(
                    SizeExpr::size(spec.size(*size).name.clone()).le(SizeExpr::constant(NARROW as i64)),
                );
            }
        }
        if split.columns.len() > 1
            && split.reduces
            && !bounded
            && product_max(spec, &split.columns).is_none_or(|max| max > NARROW)
        {
            clauses.push(columns.le(SizeExpr::constant(NARROW as i64)));
        }
        // Row groups, times the cluster, must fit the grid.
        let limit = NARROW / u64::from(config.cluster);
        let alone = split.rows.len() == 1 && config.cluster == 1;
        if !alone && product_max(spec, &split.rows).is_none_or(|max| max > limit) {
            clauses.push(rows.le(SizeExpr::constant(limit as i64)));
        }
    }
    clauses.into_iter().reduce(|all, clause| all.and(clause)).unwrap_or_else(|| SizeExpr::constant(1))
}

/// The variant with one launch.
pub(super) fn variant(
    spec: &BoundSpec,
    split: &Split,
    config: &Config,
    entry: &str,
    params: Vec<ParamPlan>,
    shared_bytes: u32,
) -> Variant {
    let columns = split.column_count(spec);
    let groups = match split.row_count(spec) {
        rows if config.rows == 1 => rows,
        rows => rows.ceil_div(SizeExpr::constant(i64::from(config.rows))),
    };
    let one = SizeExpr::constant(1);
    let grid = if split.reduces {
        let mut groups = groups;
        if let Some(blocks) = config.persistent {
            groups = groups.min(SizeExpr::constant(i64::from(blocks)));
        } else if config.wide {
            groups = groups.min(SizeExpr::constant(1 << 20));
        }
        if config.cluster > 1 {
            groups = groups.mul(SizeExpr::constant(i64::from(config.cluster)));
        }
        [groups, one.clone(), one]
    } else {
        let mut tiles = columns.ceil_div(SizeExpr::constant(config.capacity() as i64));
        if split
            .tensors
            .iter()
            .any(|access| access.along == Along::Same && spec.args[access.arg.index()].role.writes())
        {
            tiles = tiles.max(SizeExpr::constant(1));
        }
        [tiles, groups.min(SizeExpr::constant(65_535)), one]
    };
    Variant {
        name: config.to_string(),
        when: condition(spec, split, config),
        alignment: alignment(spec, split, config),
        scratch: Vec::new(),
        launches: vec![LaunchPlan {
            entry: entry.to_owned(),
            grid,
            block: [config.threads, config.rows, 1],
            cluster: [config.cluster, 1, 1],
            shared_bytes: SizeExpr::constant(i64::from(shared_bytes)),
            programmatic: false,
            params,
        }],
    }
}

/// The alignment that the accesses need.
fn alignment(spec: &BoundSpec, split: &Split, config: &Config) -> u32 {
    let of = |access: &super::split::Access| {
        let dtype = spec.args[access.arg.index()].dtype;
        if access.along == Along::Dense { piece_bytes(config.vector, dtype) } else { dtype.size() as u32 }
    };
    split.tensors.iter().map(of).max().unwrap_or(1)
}
