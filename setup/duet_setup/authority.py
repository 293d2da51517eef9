# SPDX-License-Identifier: GPL-2.0
"""The deployment's own CA: certificates by name, and the list of those revoked."""
import datetime
import ipaddress
import json
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import Refused

CA_DAYS = 3650
RENEW_DAYS = 30


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def utc(thing, name):
    """a time of a certificate: python3-cryptography has had it with a time zone since 42"""
    value = getattr(thing, name + "_utc", None)
    return value or getattr(thing, name).replace(tzinfo=datetime.timezone.utc)


def pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def pem(thing):
    return thing.public_bytes(serialization.Encoding.PEM)


def public(key):
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def common_name(cert):
    found = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return found[0].value if found else ""


def subject(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise Refused(f"{path}: {e.strerror}") from None


class Authority:
    """The CA in a folder of its own; one that isn't there yet is made in memory, and written with all else"""

    def __init__(self, folder, deployment):
        self.folder, self.new = folder, {}
        key, cert = read(self.path("ca.key")), read(self.path("ca.pem"))
        revoked = read(self.path("revoked.json"))
        try:
            self.revoked = json.loads(revoked) if revoked else []
        except ValueError as e:
            raise Refused(f"{self.path('revoked.json')}: this is no JSON: {e}") from None
        if (key is None) != (cert is None):
            raise Refused(f"{folder}: of ca.key and ca.pem one is missing; bring it back from where the CA is kept, or remove the folder for a new CA")
        if key is None:
            self.make(deployment)
            return
        try:
            self.key, self.cert = serialization.load_pem_private_key(key, None), x509.load_pem_x509_certificate(cert)
        except (ValueError, TypeError) as e:
            raise Refused(f"{folder}: ca.key or ca.pem can't be read: {e}") from None
        if public(self.key.public_key()) != public(self.cert.public_key()):
            raise Refused(f"{folder}: ca.key is not the key of ca.pem")
        if os.stat(self.path("ca.key")).st_mode & 0o77:
            raise Refused(f"{self.path('ca.key')}: others may read the CA's key; run: chmod 600 {self.path('ca.key')}")
        if utc(self.cert, "not_valid_after") < now():
            raise Refused(f"{self.path('ca.pem')}: the CA expired on {utc(self.cert, 'not_valid_after'):%Y-%m-%d}; a new CA means new certificates everywhere")

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, deployment):
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = subject(f"Duet {deployment}")
        self.cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
                     .serial_number(x509.random_serial_number()).not_valid_before(now() - datetime.timedelta(minutes=5))
                     .not_valid_after(now() + datetime.timedelta(days=CA_DAYS))
                     .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                     .add_extension(x509.KeyUsage(digital_signature=False, content_commitment=False, key_encipherment=False,
                                                  data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                                                  encipher_only=False, decipher_only=False), critical=True)
                     .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
                     .sign(self.key, hashes.SHA256()))
        self.new = {"ca.key": pem_key(self.key), "ca.pem": pem(self.cert)}

    def issue(self, name, addresses, days):
        """(certificate, key) in PEM; a machine's is for both ends of TLS, a person's for the client's"""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if addresses else [])
        end = min(now() + datetime.timedelta(days=days), utc(self.cert, "not_valid_after"))
        names = [x509.DNSName(name)] + [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
        cert = (x509.CertificateBuilder().subject_name(subject(name)).issuer_name(self.cert.subject).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now() - datetime.timedelta(minutes=5)).not_valid_after(end)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.KeyUsage(digital_signature=True, content_commitment=False, key_encipherment=False,
                                             data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
                                             encipher_only=False, decipher_only=False), critical=True)
                .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
                .sign(self.key, hashes.SHA256()))
        return pem(cert), pem_key(key)

    def why_new(self, cert_pem, key_pem, name, addresses):
        """why a certificate can't stay as it is; None: it can"""
        if cert_pem is None or key_pem is None:
            return "there is none yet"
        try:
            cert, key = x509.load_pem_x509_certificate(cert_pem), serialization.load_pem_private_key(key_pem, None)
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            has = {str(a) for a in names.get_values_for_type(x509.IPAddress)}
        except (ValueError, TypeError, x509.ExtensionNotFound):
            return "it can't be read"
        if public(cert.public_key()) != public(key.public_key()):
            return "its key is another's"
        try:
            self.cert.public_key().verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(cert.signature_hash_algorithm))
        except Exception:	# pylint: disable=broad-except # InvalidSignature, or a key of another kind
            return "it is of another CA"
        if str(cert.serial_number) in [r["serial"] for r in self.revoked]:
            return "it is revoked"
        if common_name(cert) != name or has != set(addresses):
            return "name or addresses changed"
        left = utc(cert, "not_valid_after") - now()
        whole = utc(cert, "not_valid_after") - utc(cert, "not_valid_before")
        if left < min(datetime.timedelta(days=RENEW_DAYS), whole / 3):
            return f"it expires on {utc(cert, 'not_valid_after'):%Y-%m-%d}"
        return None

    def revoke(self, cert_pem):
        cert = x509.load_pem_x509_certificate(cert_pem)
        entry = {"serial": str(cert.serial_number), "name": common_name(cert), "date": now().isoformat()}
        if entry["serial"] not in [r["serial"] for r in self.revoked]:
            self.revoked.append(entry)
            self.new["revoked.json"] = (json.dumps(self.revoked, indent=1) + "\n").encode()

    def crl(self, old):
        """the list of revoked certificates; it says the same as old: old, as it is. It lasts as long as the CA: daemons accept
        nobody once it has expired"""
        if old is not None:
            try:
                have = x509.load_pem_x509_crl(old)
                if have.is_signature_valid(self.cert.public_key()) and sorted(str(r.serial_number) for r in have) == sorted(r["serial"] for r in self.revoked):
                    return old
            except (ValueError, TypeError):
                pass
        builder = (x509.CertificateRevocationListBuilder().issuer_name(self.cert.subject).last_update(now() - datetime.timedelta(minutes=5))
                   .next_update(utc(self.cert, "not_valid_after"))
                   .add_extension(x509.CRLNumber(int(now().timestamp())), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False))
        for entry in self.revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(int(entry["serial"]))
                .revocation_date(datetime.datetime.fromisoformat(entry["date"])).build())
        return pem(builder.sign(self.key, hashes.SHA256()))
