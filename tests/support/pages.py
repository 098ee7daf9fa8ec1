"""A deployed page, as the control plane has it."""

import json
from dataclasses import dataclass
from typing import Any

from local.deployment.deployed import client


@dataclass(frozen=True)
class File:
    """What a browser would get."""

    content: bytes
    kind: str
    cache_control: str


class Page:
    """The page at `url`: its distribution, and the bucket behind it."""

    def __init__(self, control_plane: str, url: str) -> None:
        self._s3 = client(control_plane, "s3")
        self._cloudfront = client(control_plane, "cloudfront")
        [summary] = [
            each
            for each in self._cloudfront.list_distributions()["DistributionList"]["Items"]
            if url == f"https://{each['DomainName']}/"
        ]
        self.arn: str = summary["ARN"]
        found = self._cloudfront.get_distribution(Id=summary["Id"])
        self._config = found["Distribution"]["DistributionConfig"]
        [self._origin] = self._config["Origins"]["Items"]
        self._bucket = self._origin["DomainName"].partition(".")[0]

    def names(self) -> list[str]:
        """Of all files."""
        return [each["Key"] for each in self._s3.list_objects_v2(Bucket=self._bucket)["Contents"]]

    def file(self, key: str) -> File:
        found = self._s3.get_object(Bucket=self._bucket, Key=key)
        return File(found["Body"].read(), found["ContentType"], found["CacheControl"])

    def headers(self) -> dict[str, str]:
        """What CloudFront adds to each answer; its own word wins."""
        policy_id = self._config["DefaultCacheBehavior"]["ResponseHeadersPolicyId"]
        found = self._cloudfront.get_response_headers_policy(Id=policy_id)
        config = found["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]
        security, others = config["SecurityHeadersConfig"], config["CustomHeadersConfig"]["Items"]
        assert all(each["Override"] for each in (*security.values(), *others))
        return {
            "Content-Security-Policy": security["ContentSecurityPolicy"]["ContentSecurityPolicy"],
            "Referrer-Policy": security["ReferrerPolicy"]["ReferrerPolicy"],
            "Strict-Transport-Security": _transport(security["StrictTransportSecurity"]),
            "X-Content-Type-Options": "nosniff" if "ContentTypeOptions" in security else "",
            "X-Frame-Options": security["FrameOptions"]["FrameOption"],
            **{each["Header"]: each["Value"] for each in others},
        }

    def access(self) -> tuple[dict[str, bool], list[dict[str, Any]], tuple[str, str, str]]:
        """What of the public is shut out, the bucket's policy, and how the distribution signs."""
        closed = self._s3.get_public_access_block(Bucket=self._bucket)
        policy = json.loads(self._s3.get_bucket_policy(Bucket=self._bucket)["Policy"])
        control = self._cloudfront.get_origin_access_control(
            Id=self._origin["OriginAccessControlId"]
        )["OriginAccessControl"]["OriginAccessControlConfig"]
        return (
            closed["PublicAccessBlockConfiguration"],
            policy["Statement"],
            (
                control["SigningBehavior"],
                control["SigningProtocol"],
                control["OriginAccessControlOriginType"],
            ),
        )


def _transport(config: dict[str, Any]) -> str:
    """Strict-Transport-Security, as a browser reads it."""
    flags = [
        text
        for text, member in (("includeSubDomains", "IncludeSubdomains"), ("preload", "Preload"))
        if config.get(member)
    ]
    return "; ".join([f"max-age={config['AccessControlMaxAgeSec']}", *flags])
