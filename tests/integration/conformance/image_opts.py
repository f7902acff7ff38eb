"""Images named by options (--image-opts, json:), over all verbs; right and wrong use."""

RAW = {"r": "1M 0+8K 640K+4K"}
QCOW2 = {"a": "qcow2 1M"}
CHAIN = {"r": "1M 0+4K", "base": "qcow2 1M", "b": "qcow2 -b base -F qcow2 1M"}
BOTH = {"r": "1M 0+8K 640K+4K", "out": "1M 512K+4K", "small": "64K 0+8K", "a": "qcow2 1M"}

FILE_OPTIONS = (
    "locking=on locking=off locking=bogus aio=threads aio=native aio=io_uring aio=bogus aio=native,file.cache.direct=on pr-manager=x "
    "drop-cache=on drop-cache=maybe x-check-cache-dropped=on node-name=foo node-name=1foo read-only=on force-share=on "
    "cache.no-flush=on cache.direct=off discard=unmap server=1 foo.bar=1 0=1 filename= driver=host_device driver=bogus driver= "
    "filename=file:r filename=nbd:x filename=none"
).split()
NODE_OPTIONS = (
    "node-name=a,file.node-name=a read-only=on read-only=maybe force-share=on detect-zeroes=on detect-zeroes=unmap "
    "detect-zeroes=unmap,discard=unmap detect-zeroes=foo discard=on discard=foo auto-read-only=on auto-read-only=x cache.direct=on "
    "cache.direct=x cache.no-flush=on cache.writeback=off cache.foo=1 copy-on-read=on id=abc id=1 id= backing=x backing= driver=raw "
    "foo.bar=1 Offset=3 =5 x=,foo locking=on filename=zz offset=0 offset=1.5k offset=abc offset=-1 offset=2M offset=512,size=1k "
    "size=0 size=513 size=1000 size=1T offset=1,size=1M offset=18446744073709551615"
).split()
QCOW2_OPTIONS = (
    "lazy-refcounts=on lazy-refcounts=maybe pass-discard-request=on pass-discard-snapshot=x pass-discard-other=off overlap-check=none "
    "overlap-check=foo overlap-check.template=all overlap-check.template=foo overlap-check.main-header=on overlap-check.main-header=x "
    "overlap-check.bitmap-directory=on overlap-check.foo=on overlap-check=all,overlap-check.template=none cache-size=1M l2-cache-size=0 "
    "l2-cache-size=foo l2-cache-size=1M,cache-size=64k l2-cache-entry-size=4k l2-cache-entry-size=1000 refcount-cache-size=1M,cache-size=64k "
    "cache-size=1,l2-cache-size=2,refcount-cache-size=3 cache-clean-interval=5 cache-clean-interval=-1 cache-clean-interval=x "
    "encrypt.format=luks encrypt.key-secret=x encrypt.foo=1 encrypt=x data-file.filename=r backing=foo backing= backing.driver=raw "
    "size=3 node-name=x driver=raw"
).split()
WHOLE = [
    "r", "", ",", "a=b,", "driver=", "driver=nosuch", "driver=raw", "driver=qcow2", "filename=r", "file.filename=r", "file=r",
    "file.filename=r,file=r", "driver=file,filename=r", "driver=file", "driver=file,filename=", "driver=file,filename=none",
    "driver=host_device,filename=r", "driver=qcow2,file.filename=r", "driver=raw,,file.filename=r", "driver=raw,file.filename=a,,b",
    "driver=raw,file.driver=raw,file.file.filename=r", "driver=raw,offset=512,file.driver=raw,file.offset=1024,file.file.filename=r",
]
JSON = [
    "", " ", "{", "}", '{"a"', '{"a":1,}', '{"a":1,"b"}', '{"a" 1}', "{1:2}", "{a:1}", '{"a":nul}', '{"a":"x}', "{'a':'x}", r'{"a":"\q"}',
    '{"a":[1,2}', '{"a":[1 2]}', '{"a":01}', '{"a":1.}', '{"a":-}', '{"a":1e5}', "5", "[1", "{} x", '{"a":%d}', "{}",
    '{"driver":"raw","driver":"file","filename":"r"}', '{"driver":"file","filename":"\\u0072"}', '{"driver":"file","filename":"r","a":{}}',
    '{"driver":"file","filename":"r","read-only":true}', '{"driver":"file","filename":"r","read-only":1}', '{"driver":"file","filename":5}',
    '{"driver":"raw","offset":-1,"file":{"driver":"file","filename":"r"}}',
    '{"driver":"raw","offset":512,"size":"1k","file.driver":"file","file":{"filename":"r"}}', '{"driver":"raw","file":null}',
    '{"driver":"raw","file":"r"}', '{"driver":"raw","backing":null,"file.filename":"r"}', '{"file":{"filename":"r"}}', '{"filename":"r"}',
    "{'driver':'raw','file':{'driver':'file','filename':'r'}}", '{"driver":5}',
]


def numbered(name, files, commands):
    return [(f"image_opts/{name}_{number}", files, [command]) for number, command in enumerate(commands)]


CASES = (
    numbered("file", RAW, [f"info --image-opts driver=raw,file.driver=file,file.filename=r,file.{o}" for o in FILE_OPTIONS])
    + numbered("node", RAW, [f"info --image-opts driver=raw,file.driver=file,file.filename=r,{o}" for o in NODE_OPTIONS])
    + numbered("qcow2", {"a": "qcow2 1M", "r": "1M"}, [f"info --image-opts driver=qcow2,file.filename=a,{o}" for o in QCOW2_OPTIONS])
    + numbered("whole", RAW, [["info", "--image-opts", o] for o in WHOLE])
    + numbered("json", RAW, [["info", "json:" + o] for o in JSON])
    + numbered(
        "map",
        CHAIN | {"d": "qcow2 -o data_file=df 1M"},
        [
            "map --image-opts driver=raw,file.filename=r,offset=512",
            "map --output=json --image-opts driver=raw,file.filename=r,offset=1k,size=8k",
            "map -U --image-opts driver=raw,file.filename=r,force-share=off",
            "map -U --image-opts driver=raw,file.filename=r,force-share=on",
            "map --image-opts -f raw file.filename=r",
            "map --image-opts driver=raw,file.filename=r,backing.driver=raw",
            "map --output=json --image-opts driver=qcow2,file.filename=b,backing.driver=raw,backing.file.driver=file,backing.file.filename=r",
            "map --image-opts driver=qcow2,file.filename=b,backing.driver=raw,backing.file.filename=none",
            "map --image-opts driver=qcow2,file.filename=b,backing.driver=raw,backing.foo=x",
            "map --output=json --image-opts driver=qcow2,file.filename=b,backing=",
            "map --image-opts driver=qcow2,file.filename=b,backing=foo",
            "map --image-opts driver=qcow2,file.filename=b,backing.file.filename=r",
            "map --output=json --image-opts driver=qcow2,file.filename=b,backing.driver=qcow2",
            "map --output=json --image-opts driver=qcow2,file.filename=b,backing.driver=raw",
            "map --image-opts driver=qcow2,file.filename=base,backing.driver=raw",
            """map --output=json 'json:{"driver":"qcow2","file.filename":"b","backing":null}'""",
            """map --output=json 'json:{"driver":"qcow2","file.filename":"base","backing":{"driver":"raw","file.filename":"r"}}'""",
            "map --image-opts driver=qcow2,file.filename=b,data-file.filename=r",
            "map --image-opts driver=qcow2,file.filename=b,data-file=r",
            "map --output=json --image-opts driver=qcow2,file.filename=d,data-file.driver=file,data-file.filename=df",
            "map --output=json --image-opts driver=qcow2,file.filename=d,data-file.filename=none",
            "info --backing-chain --image-opts file.filename=b",
        ],
    )
    + numbered(
        "resize",
        {"r": "1M 0+4K", "a": "qcow2 1M"},
        [
            "resize --image-opts driver=raw,file.filename=r,offset=512 2M",
            "resize --image-opts driver=raw,file.filename=r,offset=512,size=512k 3M",
            "resize --image-opts driver=raw,file.filename=r,read-only=on 2M",
            "resize --image-opts driver=raw,file.filename=r,file.read-only=on 2M",
            "resize --image-opts driver=raw,file.filename=r,force-share=on 2M",
            "resize --image-opts file.filename=r 2M",
            "resize --image-opts driver=file,filename=r 4M",
            "resize --image-opts driver=qcow2,file.filename=a,read-only=on 2M",
            "resize --image-opts driver=qcow2,file.filename=a 2M",
            "resize --image-opts -f raw file.filename=r 2M",
            """resize -f raw 'json:{"driver":"qcow2","file.filename":"r"}' 3M""",
            "resize --image-opts",
            "resize -f",
        ],
    )
    + numbered(
        "check",
        {"r": "1M", "a": "qcow2 1M"},
        [
            "check --image-opts driver=qcow2,file.filename=a",
            "check --output=json --image-opts driver=qcow2,file.filename=a",
            "check --image-opts driver=qcow2,file.driver=raw,file.file.filename=a",
            "check --image-opts driver=qcow2,file.filename=a,foo=x",
            "check -r all --image-opts driver=qcow2,file.filename=a,read-only=on",
            "check --image-opts file.filename=r",
            "check --image-opts driver=file,filename=r",
            "check --image-opts -f qcow2 file.filename=a",
            """check 'json:{"driver":"qcow2","file.filename":"a"}'""",
        ],
    )
    + numbered(
        "compare",
        BOTH,
        [
            "compare --image-opts file.filename=r file.filename=r",
            "compare --image-opts -f raw file.filename=r file.filename=r",
            "compare --image-opts -F raw file.filename=r file.filename=r",
            "compare --image-opts driver=raw,file.filename=r,offset=1k driver=raw,file.filename=r,offset=1k",
            "compare --image-opts driver=raw,file.filename=r,offset=1k driver=raw,file.filename=out,offset=1k",
            "compare --image-opts r r",
            """compare r 'json:{"file.filename":"out"}'""",
        ],
    )
    + numbered(
        "convert",
        BOTH,
        [
            "convert --image-opts file.filename=r new",
            "convert --image-opts -f raw file.filename=r new",
            "convert --image-opts driver=raw,file.filename=r,offset=1k,size=64k new",
            "convert --image-opts driver=raw,file.filename=r,offset=1k,size=64k -O qcow2 new",
            "convert --image-opts driver=raw,file.filename=r,offset=1536 file.filename=small new",
            "convert --image-opts driver=qcow2,file.filename=a,read-only=on new",
            "convert --image-opts foo new",
            "convert --image-opts id=1 new",
            "convert --target-image-opts r driver=raw,file.filename=out",
            "convert --target-image-opts -n r driver=raw,file.filename=out",
            "convert --target-image-opts -n -O raw r driver=raw,file.filename=out",
            "convert --target-image-opts -n small driver=raw,file.filename=out,offset=128k,size=64k",
            "convert --target-image-opts -n small driver=raw,file.filename=out,offset=513,size=64k",
            "convert --target-image-opts -n r driver=raw,file.filename=out,offset=128k,size=64k",
            "convert --target-image-opts -n r driver=raw,file.filename=out,read-only=on",
            "convert --target-image-opts -n r driver=qcow2,file.filename=a",
            "convert --image-opts --target-image-opts -n driver=raw,file.filename=r driver=raw,foo",
            "convert r json:a",
            """convert -n r 'json:{"file.filename":"out"}'""",
            """convert -n -O raw r 'json:{"driver":"raw","file.filename":"out"}'""",
            """convert -n -O qcow2 r 'json:{"driver":"raw","file.filename":"out"}'""",
            """convert 'json:{"driver":"raw","offset":1024,"file.filename":"r"}' new""",
        ],
    )
    + numbered(
        "others",
        BOTH,
        [
            "measure --image-opts file.filename=r",
            "measure --image-opts --size 1M",
            "measure --image-opts -f raw file.filename=r",
            "measure -O qcow2 --image-opts driver=raw,file.filename=r,offset=1k,size=64k",
            "bitmap --add --image-opts driver=qcow2,file.filename=a bm",
            "bitmap --add --image-opts -f qcow2 file.filename=a bm",
            "bitmap --merge bm -b driver=qcow2,file.filename=a --image-opts driver=qcow2,file.filename=a bm",
            "amend -o lazy_refcounts=on --image-opts driver=qcow2,file.filename=a",
            "amend -o lazy_refcounts=on --image-opts -f qcow2 file.filename=a",
            "bench -c 1 --image-opts file.filename=r",
            "bench -c 1 -w --pattern 65 --image-opts driver=raw,file.filename=r,offset=512k,size=512k",
            "bench -c 1 -w --image-opts driver=qcow2,file.driver=raw,file.file.filename=a",
            "bench -c 1 -w --image-opts driver=raw,file.filename=r,read-only=on",
            "snapshot -c x --image-opts driver=qcow2,file.filename=a",
            "snapshot -c x --image-opts driver=qcow2,file.filename=a,read-only=on",
            "snapshot -l --image-opts driver=qcow2,file.filename=a",
            "create --image-opts new 1M",
        ],
    )
)
