//! Rounding of parts so that they sum to their rounded total: the method of the largest remainder.
//! Pure integer arithmetic.

use rust_decimal::Decimal;

/// Decimals of a share.
pub const SHARE_DECIMALS: u32 = 6;

/// Returns the share of each weight in the sum of the weights, with six decimals. The shares sum to
/// 1.000000; `None` if all weights are 0.
pub fn shares(weights: &[u128]) -> Option<Vec<Decimal>> {
    let sum = weights.iter().sum();
    let one = 10_u128.pow(SHARE_DECIMALS);
    let parts: Vec<u128> = weights.iter().map(|weight| weight * one).collect();
    (sum > 0).then(|| decimals(largest_remainder(&parts, sum, one), SHARE_DECIMALS))
}

/// Returns each cost in the minor unit of its currency, which has `minor_unit` decimals. The amounts
/// sum to the sum of the costs, rounded half up.
pub fn amounts(costs: &[Decimal], minor_unit: u32) -> Vec<Decimal> {
    let (parts, scale) = weights(costs, minor_unit);
    let unit = 10_u128.pow(scale - minor_unit);
    let total = (2 * parts.iter().sum::<u128>() + unit) / (2 * unit);
    decimals(largest_remainder(&parts, unit, total), minor_unit)
}

/// Returns costs as integers of the same scale, which is at least `scale`, and that scale. Costs are
/// not negative.
pub fn weights(costs: &[Decimal], scale: u32) -> (Vec<u128>, u32) {
    let scale = costs.iter().map(Decimal::scale).max().unwrap_or_default().max(scale);
    let weight = |cost: &Decimal| cost.mantissa().unsigned_abs() * 10_u128.pow(scale - cost.scale());
    (costs.iter().map(weight).collect(), scale)
}

/// Divides each part by `unit` and rounds the quotients to integers that sum to `total`: each is
/// rounded down, then those with the largest remainders are rounded up. The first of equal
/// remainders precedes.
fn largest_remainder(parts: &[u128], unit: u128, total: u128) -> Vec<u128> {
    let mut rounded: Vec<u128> = parts.iter().map(|part| part / unit).collect();
    let missing = total.saturating_sub(rounded.iter().sum());
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(parts[*index] % unit));
    for index in order.into_iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        rounded[index] += 1;
    }
    rounded
}

fn decimals(units: Vec<u128>, scale: u32) -> Vec<Decimal> {
    let decimal = |units| Decimal::from_i128_with_scale(i128::try_from(units).unwrap_or(i128::MAX), scale);
    units.into_iter().map(decimal).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(decimals: &[Decimal]) -> Vec<String> {
        decimals.iter().map(ToString::to_string).collect()
    }

    fn costs(texts: &[&str]) -> Vec<Decimal> {
        texts.iter().map(|text| Decimal::from_str_exact(text).unwrap()).collect()
    }

    #[test]
    fn shares_sum_to_one_and_ties_go_to_the_first_row() {
        assert_eq!(texts(&shares(&[1, 1, 1]).unwrap()), ["0.333334", "0.333333", "0.333333"]);
        assert_eq!(texts(&shares(&[1, 0, 2]).unwrap()), ["0.333333", "0.000000", "0.666667"]);
        assert_eq!(texts(&shares(&[7]).unwrap()), ["1.000000"]);
        assert_eq!((shares(&[]), shares(&[0, 0])), (None, None));
    }

    #[test]
    fn amounts_sum_to_the_total_rounded_half_up() {
        let of = |list: &[&str], minor_unit| texts(&amounts(&costs(list), minor_unit));
        assert_eq!(of(&["0.005", "0.005"], 2), ["0.01", "0.00"]);
        assert_eq!(of(&["0.004", "0.004", "0.004"], 2), ["0.01", "0.00", "0.00"]);
        assert_eq!(of(&["1.234", "0.1"], 2), ["1.23", "0.10"]);
        assert_eq!(of(&["1.5", "2.4"], 0), ["2", "2"], "a currency without a minor unit");
        assert_eq!(of(&["1.5", "2.5"], 0), ["2", "2"], "equal remainders");
        assert_eq!(of(&["0.1"], 3), ["0.100"], "a currency with thousandths");
        assert!(of(&[], 2).is_empty());
    }

    proptest! {
        #[test]
        fn parts_are_rounded_and_sum_to_the_total(
            parts in prop::collection::vec((0_i64..1_000_000_000, 0_u32..8), 1..40),
            minor_unit in prop::sample::select(vec![0_u32, 2, 3]),
        ) {
            let costs: Vec<_> = parts.iter().map(|(units, scale)| Decimal::new(*units, *scale)).collect();
            let amounts = amounts(&costs, minor_unit);
            let unit = Decimal::new(1, minor_unit);
            for (cost, amount) in costs.iter().zip(&amounts) {
                prop_assert!((*cost - *amount).abs() < unit, "{} {}", cost, amount);
                prop_assert_eq!(amount.scale(), minor_unit);
            }
            let total: Decimal = costs.iter().sum();
            let half_up = rust_decimal::RoundingStrategy::MidpointAwayFromZero;
            prop_assert_eq!(amounts.iter().sum::<Decimal>(), total.round_dp_with_strategy(minor_unit, half_up));
            if let Some(shares) = shares(&weights(&costs, 0).0) {
                prop_assert_eq!(shares.iter().sum::<Decimal>(), Decimal::ONE);
            }
        }
    }
}
