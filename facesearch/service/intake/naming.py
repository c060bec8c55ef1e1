"""Who the faces of a photo are, as its path, a list or a client says."""

from dataclasses import dataclass, field, replace

from facesearch.records import Metadata
from facesearch.service.intake.names import person_and_version, version_of
from facesearch.service.intake.photo_source import PhotoSource


@dataclass(frozen=True, slots=True)
class Naming:
    """What is said of the faces of one photo, by its path, by an importer's list or by a client.

    `person_id` names a person that there is; the name does not count then.
    """

    person_name: str
    version: str
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    person_id: int | None = None

    @classmethod
    def by_path(cls, path: str, only_top_folder: str | None = None) -> "Naming":
        """Name a photo's faces by where the photo lies."""
        return cls(*person_and_version(path, only_top_folder))

    @classmethod
    def in_source(cls, path: str, source: PhotoSource) -> "Naming":
        """Name a photo's faces as the source's list does, and where it does not, by where the photo lies."""
        listed = source.people.of(path) if source.people else None
        if listed is not None and listed.person:
            return cls(listed.person, version_of(path), listed.external_id, listed.metadata)
        by_path = cls.by_path(path, source.only_top_folder)
        if listed is None:
            return by_path
        return replace(by_path, external_id=listed.external_id, metadata=listed.metadata)
