//! `prices`: decimal text only, so that no rate ever passes through a float.

use std::collections::BTreeMap;

use marked_yaml::Node;
use marked_yaml::types::MarkedScalarNode;
use rust_decimal::Decimal;

use super::Prices;
use super::problem::Problem;
use super::yaml::{Found, Section, is_null, scalar};
use crate::period::Month;

/// Decimals of a price that leave room for any month's sum in a `Decimal`.
const MAX_DECIMALS: u32 = 10;

/// Largest price of an hour; more is a slip of the keyboard.
const MAX_PRICE: u32 = 1_000_000;

pub fn read(section: &Section<'_>, found: &Found) -> Prices {
    let currency =
        section.value("currency", |scalar| currency(scalar.as_str())).unwrap_or_else(|| "EUR".to_owned());
    let mut vm_hour = BTreeMap::new();
    let entries = section.entries("vm_hour");
    let mut entries = entries.iter().peekable();
    while let Some((key, name, node)) = entries.next() {
        let rest = entries.next_if(|(_, rest, following)| split_price(node, rest, following).is_some());
        if let Some(whole) = rest.and_then(|(_, rest, following)| split_price(node, rest, following)) {
            found.at(key, node, comma(&whole));
            continue;
        }
        vm_hour.insert((*name).to_owned(), rates(key, node, found));
    }
    Prices { currency, vm_hour }
}

fn currency(code: &str) -> Result<String, String> {
    if super::currency::is_currency(code) {
        Ok(code.to_owned())
    } else {
        Err(format!("{code:?} is not a currency code of ISO 4217, such as EUR"))
    }
}

fn rates(key: &str, node: &Node, found: &Found) -> Vec<(Option<Month>, Decimal)> {
    let Some(sequence) = node.as_sequence() else {
        return scalar(key, node, found, price).map(|price| (None, price)).into_iter().collect();
    };
    let mut rates = BTreeMap::new();
    for (index, node) in sequence.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let section = Section::new(&key, node, found);
        let from = section.value("from", |scalar| first_of_month(scalar.as_str()));
        let price = match section_price(&section) {
            Some((rest, whole)) => {
                section.ignore(&rest);
                section.problem("price", comma(&whole));
                None
            }
            None => section.value("price", price),
        };
        for (name, missing) in
            [("from", section.node("from").is_none()), ("price", section.node("price").is_none())]
        {
            if missing && (node.as_mapping().is_some() || is_null(node)) {
                section.problem(name, "is missing");
            }
        }
        if let (Some(from), Some(price)) = (from, price)
            && rates.insert(Some(from), price).is_some()
        {
            section.problem("from", format!("{from} has a price already"));
        }
        section.finish();
    }
    if sequence.is_empty() {
        found.push(Problem::new(key, "is an empty list; give a price or leave the key out"));
    }
    rates.into_iter().collect()
}

fn first_of_month(text: &str) -> Result<Month, String> {
    text.strip_suffix("-01").and_then(|month| month.parse().ok()).ok_or_else(|| {
        format!(
            "{text:?} is not the first day of a month: prices change with a month, write it as 2026-10-01"
        )
    })
}

/// Returns a price that YAML has split at its decimal comma, as in `{a: 0,08}`: the number `node` is followed by
/// a key of digits without a value.
fn split_price(node: &Node, rest: &str, following: &Node) -> Option<String> {
    let number = node.as_scalar().filter(|scalar| scalar.may_coerce()).map(MarkedScalarNode::as_str)?;
    (is_digits(number) && is_digits(rest) && is_null(following)).then(|| format!("{number},{rest}"))
}

/// Returns the second part and the complete text of a price in a dated entry, if YAML has split the price at its
/// decimal comma; otherwise `None`.
fn section_price(section: &Section<'_>) -> Option<(String, String)> {
    let mut pairs = section.pairs().skip_while(|(name, _)| name.as_str() != "price");
    let ((_, node), (rest, following)) = (pairs.next()?, pairs.next()?);
    Some((rest.as_str().to_owned(), split_price(node, rest.as_str(), following)?))
}

/// Returns the error message for a price with a decimal comma.
fn comma(price: &str) -> String {
    let correct = price.replace(',', ".");
    format!("{price} has a decimal comma; write \"{correct}\", as text with a point")
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn price(scalar: &MarkedScalarNode) -> Result<Decimal, String> {
    let text = scalar.as_str();
    if text.split_once(',').is_some_and(|(whole, rest)| is_digits(whole) && is_digits(rest)) {
        return Err(comma(text));
    }
    if scalar.may_coerce() {
        return Err(format!("{text} is a YAML number: write it as text, \"{text}\", so that it stays exact"));
    }
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let price = Decimal::from_str_exact(text)
        .ok()
        .filter(|_| plain && !text.starts_with('.') && !text.ends_with('.'));
    match price {
        Some(price) if price.scale() > MAX_DECIMALS => {
            Err(format!("{text:?} has more than {MAX_DECIMALS} decimals"))
        }
        Some(price) if price > Decimal::from(MAX_PRICE) => {
            Err(format!("{text:?} is more than {MAX_PRICE} an hour"))
        }
        Some(price) => Ok(price),
        None => Err(format!("{text:?} is not a price: a decimal such as \"0.12\", not negative")),
    }
}
