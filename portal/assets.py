"""Static files: compressed and named by their content once collected; plain out of the packages where nobody has."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class CollectedOrPackaged(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise has no types
    """WhiteNoise's storage, which answers every page with 500 where `collectstatic` was forgotten. This one does not.

    Without a manifest the files keep their plain names, and WhiteNoise serves them from the packages
    (`WHITENOISE_USE_FINDERS`): slower by a compression, and nobody is locked out at nine. The check rolegate.I001 says so.
    """

    def stored_name(self, name: str) -> str:
        """The name to serve `name` under. Raises ValueError for a file that a collected manifest does not know."""
        return str(super().stored_name(name)) if self.hashed_files else name
