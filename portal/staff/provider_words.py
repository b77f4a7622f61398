"""Why a test sign-in or a provider's documents failed, in words for the people who can mend it. Nobody else sees these."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

REASONS: Final[dict[str, str | Promise]] = {
    # The provider knows us by other values.
    "audience_wrong": _("The provider addresses another service provider: give it our entity ID, letter by letter."),
    "audience_missing": _("The assertion names no audience: set our entity ID as the audience at the provider."),
    "destination_wrong": _("The answer was made for another address: set our assertion consumer service URL at the provider."),
    "destination_missing": _("The answer names no destination: set our assertion consumer service URL at the provider."),
    "recipient_wrong": _("The assertion was made for another recipient: set our assertion consumer service URL at the provider."),
    "issuer_wrong": _("Another entity ID than the metadata's signed this: are these the metadata of the right provider?"),
    "issuer_mismatch": _("The token names another issuer: copy the issuer letter by letter from the provider, slash included."),
    "azp_wrong": _("The token was made for another client: check the client ID."),
    # Keys.
    "signature_invalid": _("The signature does not fit the provider's key. Have its keys changed since the metadata were read?"),
    "signature_missing": _("Neither the response nor the assertion is signed: switch signing on at the provider."),
    "certificate_foreign": _("A certificate signed that the metadata do not name. Does the provider roll its key? Read the metadata again."),
    "certificate_expired": _("The provider's certificate has ended: it needs a new one, and its metadata must name it."),
    "certificate_missing": _("The metadata name no signing certificate."),
    "certificate_invalid": _("The certificate cannot be read, or is not valid yet."),
    "certificate_ends_soon": _("The last certificate ends within thirty days. Ask for the next one now: both are accepted while they roll."),
    "key_too_small": _("The provider's RSA key is shorter than 2,048 bits."),
    "algorithm_forbidden": _("The provider signs with SHA-1 or another algorithm that is not safe any more: choose RSA-SHA256."),
    "alg_forbidden": _("The provider signs the token with an algorithm that is not accepted: choose RS256 or ES256."),
    "kid_unknown": _("The token was signed with a key that the provider does not publish."),
    "encryption_required": _("The entry wants encrypted assertions and the provider sends plain ones."),
    "encryption_algorithm": _("The provider encrypts by an algorithm that is not accepted: choose AES-GCM with RSA-OAEP; AES-CBC only in a signed response."),
    "decrypt_failed": _("The assertion cannot be decrypted: give the provider our metadata again, they hold the key to encrypt to."),
    "not_a_certificate": _("This is no certificate: paste it as PEM, with its BEGIN and END lines, or the provider's new metadata."),
    "key_type": _("The key is of a kind that is not accepted: choose RSA with 2,048 bits or more, or ECDSA."),
    "too_many_certificates": _("Five certificates at most are accepted side by side: drop one first."),
    "last_certificate": _("This is the last certificate: without it nobody could sign in. Add the next one first."),
    "certificate_unknown": _("There is no such certificate here any more: look at the list again."),
    "certificates_are_the_providers": _("The provider names its certificates itself: what its metadata say counts, and changes there."),
    # Time.
    "expired": _("The answer had ended when it came. Compare the clocks of the provider and of this gateway."),
    "not_yet_valid": _("The answer is not valid yet. Compare the clocks of the provider and of this gateway."),
    "session_expired": _("The provider's own session had ended when it answered: sign in there anew."),
    "too_old": _("The token was issued more than ten minutes ago. Compare the clocks of the provider and of this gateway."),
    "metadata_expired": _("The metadata have ended (validUntil): the provider must publish new ones."),
    "validity_too_long": _("The assertion is valid for longer than the entry allows (max_validity)."),
    # What the claim map wants.
    "subject_missing": _("The claim that names the person did not come. See below what did, and choose another one."),
    "subject_ambiguous": _("The claim that names the person came with several values: choose one that has exactly one."),
    "name_id_missing": _("The provider sends no NameID: switch it on there, or choose an attribute as the subject."),
    "name_id_transient": _("The NameID is another one at each sign-in (transient): ask for a persistent one, or choose an attribute."),
    "claim_malformed": _("A mapped claim is neither text nor a list of texts."),
    "too_many_groups": _("More than two thousand groups came."),
    "value_too_long": _("A value is longer than 1,024 characters: send fewer attributes, or shorter ones."),
    "value_not_text": _("An attribute's value is no plain text."),
    "subject_malformed": _("The claim that names the person is no text of at most 255 characters: choose another one."),
    "control_character": _("A value has a control character in it."),
    # OpenID Connect.
    "client_refused": _("The provider does not take the client ID and secret."),
    "code_refused": _("The provider does not take its own code back: check client ID, secret and redirect URI."),
    "provider_error": _("The provider ended the sign-in with an error of its own: its log says more."),
    "pkce_unsupported": _("The provider does not offer PKCE with S256."),
    "secret_not_set": _("The environment variable with the client secret is not set on this gateway."),
    "id_token_missing": _("The provider's answer holds no ID token: is the scope openid allowed for this client?"),
    "token_request_refused": _("The provider refuses the token request: check the client's settings there, its redirect URI above all."),
    "secret_not_for_providers": _("The client secret names a setting of the gateway's own: give the provider an environment variable of its own."),
    "userinfo_refused": _("The userinfo endpoint refuses the access token."),
    "nonce_missing": _("The provider leaves out the nonce that it was given."),
    # Reaching it.
    "unreachable": _("The provider cannot be reached from this gateway: check the address, the firewall and DNS."),
    "too_slow": _("The provider took longer than five seconds."),
    "metadata_status": _("The metadata address answers with an error."),
    "xml_invalid": _("What the metadata address answers is no XML: is it the page about the metadata?"),
    "root_wrong": _("What the metadata address answers are no SAML metadata."),
    "no_identity_provider": _("The metadata describe no identity provider."),
    "several_identity_providers": _("The metadata describe several identity providers: take the document of one."),
    "sso_missing": _("The metadata offer no sign-in by HTTP redirect."),
    "document_unavailable": _("The discovery document cannot be had: is the issuer right?"),
    "document_malformed": _("The discovery document is not as OpenID Connect wants it."),
    "document_issuer_mismatch": _("The discovery document names another issuer: copy that one, letter by letter."),
    "redirect_refused": _("The address answers with a redirect, which is not followed: give the address that it leads to."),
    "answer_too_large": _("The provider's answer is larger than what is read: is the address the right one?"),
    "endpoint_forbidden": _("The discovery document names an address that does not begin with https."),
    "url_not_allowed": _("The address must begin with https."),
    "metadata_file_unreadable": _("The metadata file cannot be read on this server."),
    # State.
    "documents_old": _("The documents were not read for more than three hours: is the background work running?"),
    "never_fetched": _("Nothing has been read from the provider yet."),
    "disabled": _("Disabled in the mapping: nobody signs in by it, and nobody uses a role by it."),
    "replayed": _("The same answer came twice."),
    "status_not_success": _("The provider itself answered that the sign-in failed: its log says more."),
    "in_response_to_unknown": _("The answer belongs to another request: start the test again."),
}  # fmt: skip


def words_for(reason: str) -> str | Promise:
    """The sentence for a reason, or one that says where to look."""
    return REASONS.get(reason) or _("The log has the detail under this reason.")


USES: Final[dict[str, str | Promise]] = {
    "subject": _("who they are"),
    "email": _("e-mail"),
    "name": _("name"),
    "groups": _("groups"),
    "mfa": _("second factor"),
}

# What a change of a provider would take from whoever makes it, or from everybody who owns the gateway.
WARNINGS: Final[dict[str, str | Promise]] = {
    "your_own_way_in": _(
        "You have signed in by this provider yourself: once it is disabled, you cannot use the gateway by it."
    ),
    "your_own_right": _(
        "With these claims, you yourself would not be an owner of the gateway any more after your next sign-in."
    ),
    "certificate_dropped": _(
        "A certificate that is in force is not in this entry: once it is published, sign-ins signed with it are refused."
    ),
    "every_owner": _(
        "Nobody who owns the gateway has come by another provider: with this one disabled, only an operator at the shell can undo it."
    ),
}
