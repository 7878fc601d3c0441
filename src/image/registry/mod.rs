//! stub
use super::*;
/// stub
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions;
/// stub
pub struct Registry;
impl Registry {
    /// stub
    pub fn open(_: &crate::reference::Name, _: &RegistryOptions) -> Result<Self> {
        Ok(Self)
    }
}
impl Source for Registry {
    fn kind(&self) -> SourceKind {
        SourceKind::Registry
    }
    fn images(&self, _: &PlatformChoice) -> Result<Vec<Image>> {
        Err(Error::not_found("stub"))
    }
    fn open_layer(&self, _: &Layer) -> Result<LayerBytes> {
        Err(Error::not_found("stub"))
    }
}
