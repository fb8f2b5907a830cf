//! The currency codes in use, from ISO 4217's list one (without funds, metals and testing codes).

const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD \
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ \
    GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD \
    LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP \
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND \
    TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// Whether `code` is a currency.
pub fn is_currency(code: &str) -> bool {
    code.len() == 3 && CODES.split_ascii_whitespace().any(|known| known == code)
}

/// Currencies without a minor unit.
const WITHOUT_MINOR_UNIT: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";

/// Currencies whose minor unit is a thousandth.
const THOUSANDTHS: &str = "BHD IQD JOD KWD LYD OMR TND";

/// Returns the number of decimals of the minor unit of `code`: 2 unless ISO 4217 states another one.
pub fn minor_unit(code: &str) -> u32 {
    let lists = |codes: &str| codes.split_ascii_whitespace().any(|known| known == code);
    if lists(WITHOUT_MINOR_UNIT) {
        0
    } else if lists(THOUSANDTHS) {
        3
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_follow_iso_4217() {
        let of = ["EUR", "USD", "HUF", "MGA", "JPY", "KRW", "ISK", "XOF", "KWD", "TND"].map(minor_unit);
        assert_eq!(of, [2, 2, 2, 2, 0, 0, 0, 0, 3, 3]);
        let exceptions = WITHOUT_MINOR_UNIT.split(' ').chain(THOUSANDTHS.split(' '));
        assert!(exceptions.clone().all(is_currency), "{:?}", exceptions.collect::<Vec<_>>());
    }
}
