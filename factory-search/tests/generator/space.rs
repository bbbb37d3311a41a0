//! The space: large enough, without repetition, the same each time, and right about itself.

use std::collections::BTreeSet;

use factory_ptx::builder::Priority;
use factory_search::generator::{Config, Keep, Space};
use factory_spec::{Arch, SizeValues};

use crate::programs::{KEEPING, PROGRAMS, bound, keeping};

fn of(name: &str) -> factory_spec::BoundSpec {
    bound(PROGRAMS.iter().find(|program| program.name == name).expect("the program is in the table"))
}

#[test]
fn the_examples_have_a_hundred_configurations_and_more() {
    for (name, sizes) in [("rmsnorm", [4096, 4096]), ("fused", [4096, 1024])] {
        let spec = of(name);
        let space = Space::new(&spec).expect("the examples are lowered");
        let configurations = space.configurations(Arch::Sm90, &SizeValues(sizes.to_vec()));
        assert!(configurations.len() >= 100, "{name}: {}", configurations.len());
        let names: BTreeSet<String> = configurations.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), configurations.len(), "{name}: two configurations of one name");
        assert_eq!(configurations, space.configurations(Arch::Sm90, &SizeValues(sizes.to_vec())));
    }
}

#[test]
fn the_same_configuration_gives_the_same_bytes() {
    let spec = of("fused");
    let space = Space::new(&spec).expect("the example is lowered");
    for config in space.configurations(Arch::Sm100, &SizeValues(vec![64, 512])).iter().step_by(17) {
        let first = space.generate(config, Arch::Sm100).expect("listed configurations suit");
        let second = space.generate(config, Arch::Sm100).expect("listed configurations suit");
        assert_eq!(first, second);
        assert!(first.ptx.starts_with(".version 8.6\n.target sm_100\n"), "{}", &first.ptx[..60]);
    }
}

/// Each way to keep a row can be had with reads that stay in the L2, where the spec allows those.
#[test]
fn reads_stay_in_the_l2_where_the_spec_allows_it() {
    let last = |config: &Config| config.load.priority == Priority::EvictLast;
    for name in KEEPING {
        let (spec, without) = (keeping(name), of(name));
        let over = SizeValues(vec![4096, 4096]);
        let space = Space::new(&spec).expect("the program is lowered");
        let all = space.configurations(Arch::Sm90, &over);
        let kinds = |configs: &[Config], which: &dyn Fn(&Config) -> bool| -> BTreeSet<(Keep, bool, u32)> {
            let chosen = configs.iter().filter(|config| which(config) && config.keep != Keep::Reread);
            chosen.map(|config| (config.keep, config.persistent.is_some(), config.stages)).collect()
        };
        if name != "gate" {
            assert_eq!(kinds(&all, &last), kinds(&all, &|config| !last(config)), "{name}");
        }
        assert!(all.iter().any(last), "{name}");
        let plain = Space::new(&without).expect("the program is lowered").configurations(Arch::Sm90, &over);
        let rest: Vec<Config> = all.into_iter().filter(|config| !last(config)).collect();
        assert_eq!(plain, rest, "{name}: nothing else changes");
    }
}

#[test]
fn rows_from_shortest_to_longest_have_configurations() {
    let spec = of("rmsnorm");
    let space = Space::new(&spec).expect("the example is lowered");
    let mut columns = 8;
    while columns <= 262_144 {
        let over = SizeValues(vec![2048, columns]);
        for arch in [Arch::Sm90, Arch::Sm100] {
            let configurations = space.configurations(arch, &over);
            assert!(configurations.len() >= 10, "n={columns}: {}", configurations.len());
            let sizes = |name: &str| spec.size_id(name).map(|id| over[id] as i64);
            let config = configurations.last().expect("there are some");
            let candidate = space.generate(config, arch).expect("listed configurations suit");
            assert_eq!(candidate.variant.when.eval(&sizes), Ok(1), "{config} is for n={columns}");
        }
        columns *= 2;
    }
}
