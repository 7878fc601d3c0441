//! JUnit's XML: a suite an image and profile, a case a rule.

use quick_junit::{NonSuccessKind, Report as Document, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::terms::{NOT_CHECKED, NOT_CHECKED_TITLE, about, headline, severity_word, statements};
use super::{ImageResult, Report, ReportedFinding};
use crate::printable::printable;
use crate::verdict::Severity;

/// The document. Findings of severity error are failures; the others, and ignored ones, are cases that passed with what
/// was found as their output, as a runner would otherwise go red where imglint does not.
pub(super) fn junit(report: &Report) -> Result<String, SerializeError> {
    let mut document = Document::new("imglint");
    let configured = report.configuration.line();
    document.add_test_suites(report.results.iter().map(|result| {
        let mut suite = suite(result);
        if let Some(line) = &configured {
            suite.add_property(("configuration", printable(line).as_ref()));
        }
        suite
    }));
    // The schema that Jenkins publishes has this attribute for suites only.
    document.to_string().map(|xml| without_attribute(&xml, "<testsuites ", " skipped=\""))
}

fn suite(result: &ImageResult) -> TestSuite {
    let image = printable(&result.image.reference).into_owned();
    let mut suite = TestSuite::new(format!("{image} ({})", about(&result.image, &result.profile)));
    let case = |name: &str, status| {
        let mut case = TestCase::new(name, status);
        case.set_classname(image.clone());
        case
    };
    if let Some(error) = &result.error {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(NOT_CHECKED_TITLE).set_type(NOT_CHECKED).set_description(printable(error).into_owned());
        suite.add_test_case(case(NOT_CHECKED, status));
    }
    for reported in &result.findings {
        let rule = &reported.finding.rule;
        let text = format!("{}\n\n{}", statements(reported), reported.finding.fix.trim());
        if is_failure(reported) {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(headline(reported)).set_type("error").set_description(text);
            suite.add_test_case(case(rule, status));
        } else {
            let mut case = case(rule, TestCaseStatus::success());
            let why = match &reported.ignored {
                Some(ignored) => format!("ignored: {}", printable(&ignored.reason)),
                None => severity_word(reported.finding.severity).to_owned(),
            };
            case.set_system_out(format!("{why}: {}\n{text}", headline(reported)));
            suite.add_test_case(case);
        }
    }
    suite.add_test_cases(result.passed.iter().map(|rule| case(rule, TestCaseStatus::success())));
    suite.add_test_cases(result.not_applicable.iter().map(|rule| {
        let mut status = TestCaseStatus::skipped();
        status.set_message("it does not speak of such an image");
        case(rule, status)
    }));
    suite
}

/// The text without an attribute of the first element of this name.
fn without_attribute(xml: &str, element: &str, attribute: &str) -> String {
    let cut = || {
        let start = xml.find(element)?;
        let end = start + xml[start..].find('>')?;
        let from = start + xml[start..end].find(attribute)?;
        let to = from + attribute.len() + xml[from + attribute.len()..end].find('"')? + 1;
        Some(format!("{}{}", &xml[..from], &xml[to..]))
    };
    cut().unwrap_or_else(|| xml.to_owned())
}

fn is_failure(reported: &ReportedFinding) -> bool {
    reported.ignored.is_none() && reported.finding.severity == Severity::Error
}
