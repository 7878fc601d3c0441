//! Bounds every answer that a bucket's server gives, also those that say what is wrong: the library reads them whole.

use std::pin::Pin;

use http_body_util::{BodyExt as _, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

use super::LARGEST_STORED;

/// Makes clients whose answers are bounded.
#[derive(Debug, Default)]
pub(super) struct BoundedConnector;

impl HttpConnector for BoundedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Bounded(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Bounded(HttpClient);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Bounded {
    fn call<'life, 'answer>(&'life self, request: HttpRequest) -> Answer<'answer>
    where
        'life: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            let (parts, body) = self.0.execute(request).await?.into_parts();
            let bounded = Limited::new(body, LARGEST_STORED + 1);
            // An error of this kind is not tried again.
            let bounded = bounded.map_err(|error| HttpError::new_boxed(HttpErrorKind::Decode, error));
            Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(bounded)))
        })
    }
}
