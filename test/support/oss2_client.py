"""Scenarios of test/servers/oss-server-python.test.ts: what oss2 does against a server, told as JSON on stdout."""

import datetime
import json
import sys
import tempfile

import oss2
import oss2.auth


def bucket_of(options, auth=None):
    auth = auth or oss2.AuthV4(options["accessKeyId"], options["secretAccessKey"])
    return oss2.Bucket(auth, options["endpoint"], options["bucket"], region=options["region"])


def refusal(call):
    try:
        call()
    except oss2.exceptions.OssError as error:
        details = error.details if isinstance(error.details, dict) else {}
        return {"status": error.status, "code": details.get("Code"), "ec": details.get("EC"), "id": error.request_id}
    return None


def objects(options):
    bucket = bucket_of(options)
    key = "a/b+c d/\u00fc%2F&.txt"
    put = bucket.put_object(key, b"0123456789", headers={"x-oss-meta-note": "n", "Content-Type": "text/x-test"})
    head = bucket.head_object(key)
    told = {
        "key": key,
        "etag": put.etag,
        "crc": put.crc,  # oss2 itself compares it with what it sent, and raises
        "body": bucket.get_object(key).read().decode(),
        "range": bucket.get_object(key, byte_range=(2, 5)).read().decode(),
        "head": [head.content_length, head.etag, head.content_type, head.headers["x-oss-meta-note"]],
        "meta": bucket.get_object_meta(key).content_length,
        "exists": [bucket.object_exists(key), bucket.object_exists("nope")],
        "absent": refusal(lambda: bucket.get_object("nope")),
        "absent_head": refusal(lambda: bucket.head_object("nope")),
    }
    bucket.copy_object(options["bucket"], key, "copy of it")
    told["copy"] = bucket.get_object("copy of it").read().decode()
    told["signed"] = bucket.get_object_with_url(bucket.sign_url("GET", key, 60)).read().decode()
    bucket.delete_object(key)
    told["deleted"] = bucket.object_exists(key)
    return told


def lists(options):
    bucket = bucket_of(options)
    keys = ["a/1", "a/2", "b", "c d&<", "\u00e9", "\U0001f600", "\uff21"]
    for key in keys:
        bucket.put_object(key, b"x")
    told = {}
    for name, iterator in (("v1", oss2.ObjectIterator), ("v2", oss2.ObjectIteratorV2)):
        told[name] = [one.key for one in iterator(bucket, max_keys=2)]
        told[name + "_folders"] = [[one.key, one.is_prefix()] for one in iterator(bucket, delimiter="/", max_keys=1)]
        told[name + "_prefix"] = [one.key for one in iterator(bucket, prefix="a/")]
    told["start_after"] = [one.key for one in oss2.ObjectIteratorV2(bucket, start_after="b")]
    told["deleted"] = sorted(bucket.batch_delete_objects(keys).deleted_keys) == sorted(keys)
    told["left"] = [one.key for one in oss2.ObjectIterator(bucket)]
    told["info"] = [bucket.get_bucket_info().name, bucket.get_bucket_location().location]
    return told


def multipart(options):
    bucket = bucket_of(options)
    key = "big one"
    upload = bucket.init_multipart_upload(key).upload_id
    bodies = [bytes([number]) * 110_000 for number in (1, 2, 3)]
    parts = []
    for number, body in enumerate(bodies, 1):
        result = bucket.upload_part(key, upload, number, body)
        parts.append(oss2.models.PartInfo(number, result.etag, size=len(body), part_crc=result.crc))
    listed = [[part.part_number, part.size, part.etag] for part in oss2.PartIterator(bucket, key, upload, max_parts=1)]
    uploads = [[one.key, one.upload_id == upload] for one in oss2.MultipartUploadIterator(bucket)]
    completed = bucket.complete_multipart_upload(key, upload, parts)  # checks the CRC64 that it combines itself
    told = {
        "listed": [one[:2] for one in listed],
        "etags": [one[2] for one in listed] == [part.etag for part in parts],
        "uploads": uploads,
        "etag": completed.etag,
        "whole": bucket.get_object(key).read() == b"".join(bodies),
        "gone": refusal(lambda: bucket.complete_multipart_upload(key, upload, parts)),
    }
    second = bucket.init_multipart_upload("copied").upload_id
    size = sum(map(len, bodies))
    copies = []
    for number, first in enumerate((0, 110_000, 220_000), 1):
        span = (first, min(first + 110_000, size) - 1)
        result = bucket.upload_part_copy(options["bucket"], key, span, "copied", second, number)
        copies.append(oss2.models.PartInfo(number, result.etag))
    bucket.complete_multipart_upload("copied", second, copies)
    told["copied"] = bucket.get_object("copied").read() == b"".join(bodies)
    third = bucket.init_multipart_upload("never").upload_id
    bucket.upload_part("never", third, 1, b"x")
    bucket.abort_multipart_upload("never", third)
    told["left"] = [one.key for one in oss2.MultipartUploadIterator(bucket)]
    return told


def refusals(options):
    def late(hours):
        class Clock(datetime.datetime):
            @classmethod
            def utcnow(cls):
                return datetime.datetime.utcnow() + datetime.timedelta(hours=hours)

        real, oss2.auth.datetime = oss2.auth.datetime, Clock
        try:
            return refusal(lambda: bucket_of(options).get_object("x"))
        finally:
            oss2.auth.datetime = real

    key, secret = options["accessKeyId"], options["secretAccessKey"]
    sts = oss2.StsAuth(key, secret, "no-such-token", auth_version=oss2.AUTH_VERSION_4)
    return {
        "secret": refusal(lambda: bucket_of(options, oss2.AuthV4(key, "wrong")).get_object("x")),
        "id": refusal(lambda: bucket_of(options, oss2.AuthV4("wrong", secret)).get_object("x")),
        "v1": refusal(lambda: bucket_of(options, oss2.Auth(key, secret)).get_object("x")),
        "v1_url": refusal(
            lambda: (lambda old: old.get_object_with_url(old.sign_url("GET", "x", 60)))(
                bucket_of(options, oss2.Auth(key, secret))
            )
        ),
        "anonymous": refusal(lambda: bucket_of(options, oss2.AnonymousAuth()).get_object("x")),
        "late": late(-1),
        "early": late(1),
        "region": refusal(lambda: bucket_of({**options, "region": "cn-beijing"}).get_object("x")),
        "token": refusal(lambda: bucket_of(options, sts).get_object("x")),
        "bucket": refusal(lambda: bucket_of({**options, "bucket": "no-such-bucket"}).get_object("x")),
    }


def buckets(options):
    service = oss2.Service(oss2.AuthV4(options["accessKeyId"], options["secretAccessKey"]), options["endpoint"],
                           region=options["region"])
    bucket = bucket_of({**options, "bucket": options["bucket"] + "-new"})
    bucket.create_bucket()
    made = bucket.bucket_name in [one.name for one in oss2.BucketIterator(service)]
    bucket.put_object("x/y", b"")
    full = refusal(bucket.delete_bucket)
    bucket.delete_object("x/y")
    bucket.delete_bucket()
    gone = refusal(lambda: bucket.get_bucket_info())
    return {"made": made, "full": full, "gone": gone}


def checked(call):
    """What oss2 says of bytes whose CRC64 is not the one that the server tells."""
    try:
        call()
    except oss2.exceptions.InconsistentError:
        return "inconsistent"
    return "ok"


def put_one(options):
    return checked(lambda: bucket_of(options).put_object(options["key"], b"0123456789"))


def get_one(options):
    # Of all ways to read, oss2 checks the sum on this one.
    with tempfile.NamedTemporaryFile() as file:
        return checked(lambda: bucket_of(options).get_object_to_file(options["key"], file.name))


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](json.loads(sys.argv[2]))))
