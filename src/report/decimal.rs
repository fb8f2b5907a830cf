//! Numbers as the files write them: integer arithmetic, half up, never a float. Pure.

use std::fmt;

use rust_decimal::Decimal;

/// Hundredths, written with two decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hundredths(pub u128);

impl Hundredths {
    /// `units` × `seconds` ÷ 3600, rounded half up to two decimals.
    pub fn unit_hours(units: u64, seconds: u64) -> Self {
        Self((u128::from(units) * u128::from(seconds) + 18) / 36)
    }

    /// `mib` ÷ 1024 × `seconds` ÷ 3600, rounded half up to two decimals.
    pub fn gib_hours(mib: u64, seconds: u64) -> Self {
        Self((u128::from(mib) * u128::from(seconds) + 18_432) / 36_864)
    }
}

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0) {
            // Nearly all, and a fourth quicker to write: a large month has a million of them.
            Ok(small) => write!(f, "{}.{:02}", small / 100, small % 100),
            Err(_) => write!(f, "{}.{:02}", self.0 / 100, self.0 % 100),
        }
    }
}

impl std::ops::AddAssign for Hundredths {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

/// A share of a whole, written with six decimals, half up; nothing of nothing is `0.000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u128);

impl Share {
    /// `part` ÷ `whole`.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Self {
        let (part, whole) = (u128::from(part), u128::from(whole));
        Self((part * 2_000_000 + whole).checked_div(2 * whole).unwrap_or_default())
    }

    /// For people: `12.3 %`, half up.
    #[must_use]
    pub fn percent(self) -> String {
        let tenths = (self.0 + 500) / 1_000;
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// An amount of money, exact, with two decimals or as many more as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money(pub Decimal);

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut amount = self.0.normalize();
        if amount.scale() < 2 {
            amount.rescale(2);
        }
        // A decimal never shows an exponent.
        write!(f, "{amount}")
    }
}

/// `ours` − `theirs`.
pub fn difference(ours: u64, theirs: u64) -> i64 {
    let exact = i128::from(ours) - i128::from(theirs);
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_round_half_up() {
        let hours = |units, seconds| Hundredths::unit_hours(units, seconds).to_string();
        assert_eq!(hours(4, 3600), "4.00");
        assert_eq!(
            [hours(1, 17), hours(1, 18), hours(1, 53), hours(1, 54)],
            ["0.00", "0.01", "0.01", "0.02"]
        );
        assert_eq!(hours(u64::MAX, 2_678_400), "13724377590839906401560.00");
        let gib = |mib, seconds| Hundredths::gib_hours(mib, seconds).to_string();
        assert_eq!(
            [gib(8192, 3600), gib(512, 36), gib(512, 35), gib(0, 9)],
            ["8.00", "0.01", "0.00", "0.00"]
        );
    }

    #[test]
    fn shares_have_six_decimals() {
        let share = |part, whole| Share::of(part, whole).to_string();
        assert_eq!([share(1, 3), share(2, 3), share(3, 3)], ["0.333333", "0.666667", "1.000000"]);
        assert_eq!([share(0, 0), share(0, 5), share(1, 2_000_000)], ["0.000000", "0.000000", "0.000001"]);
        let percent = |part, whole| Share::of(part, whole).percent();
        assert_eq!([percent(1, 3), percent(9995, 10_000), percent(0, 0)], ["33.3 %", "100.0 %", "0.0 %"]);
    }

    #[test]
    fn money_is_exact() {
        let money = |text| Money(Decimal::from_str_exact(text).unwrap()).to_string();
        assert_eq!([money("0"), money("12"), money("0.1"), money("0.10")], ["0.00", "12.00", "0.10", "0.10"]);
        assert_eq!(
            [money("0.12345"), money("1.2300000"), money("0.0000000001")],
            ["0.12345", "1.23", "0.0000000001"]
        );
    }

    #[test]
    fn differences_do_not_wrap() {
        assert_eq!([difference(1, 3), difference(3, 1)], [-2, 2]);
        assert_eq!([difference(0, u64::MAX), difference(u64::MAX, 0)], [i64::MIN, i64::MAX]);
    }
}
