"""The contracts of seqserve: the wire (one module a service) and the manifest. Generated from the .proto files here."""
