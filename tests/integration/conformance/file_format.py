"""A file driver as format (-f file): a file without a format on it."""

FILES = {"r": "1M 0+4K 512K+4K", "q": "qcow2 1M | write -P 1 0 64K", "e": "0", "odd": "1000 0+1000"}

CASES = (
    [
        (f"file_format/{name}", FILES, commands)
        for name, commands in {
            "info": ["info -f file r", "info -f file --output=json r", "info -f file q", "info -f file e", "info -f file odd", "info -f file nope",
                     "info -f file file:r", "info -f file -U r", "info -f file --backing-chain r"],
            "info_device": ["info -f host_device r", "info -f host_device nope"],
            "map": ["map -f file r", "map -f file --output=json r", "map -f file q"],
            "check": ["check -f file r", "check -f file q", "check -f file --output=json r"],
            "compare": ["compare -f file r r", "compare -f file -F raw r r", "compare -f file -F file r q", "compare -f raw -F file r odd"],
            "convert": ["convert -f file -O raw r d", "convert -f file -O qcow2 q d2", "info d2", "convert -f file -O raw odd d3"],
            "dd": ["dd -f file if=r of=d bs=4k count=1"],
            "resize": ["resize -f file r 2M", "resize -f file --shrink r 64K", "resize -f file q 1M"],
            "measure": ["measure -f file r", "measure -f file -O qcow2 r", "measure -f file -O qcow2 q"],
            "commit": ["commit -f file r"],
            "amend": ["amend -f file -o size=1M r", "amend -f file -o help r"],
            "bench": ["bench -f file -c 2 -d 1 r", "bench -f file -w -c 2 -d 1 r"],
            "image_opts": ["info --image-opts driver=file,filename=r", "info -f file --image-opts driver=file,filename=r",
                           "convert -f file --image-opts filename=r d"],
        }.items()
    ]
    + [
        (f"file_format/backing_{name}", FILES, commands)
        for name, commands in {
            "create": ["create -f qcow2 -b r -F file o", "info o", "info --backing-chain o", "map o", "convert -O raw o d", "check o", "compare o r"],
            "create_qcow2": ["create -f qcow2 -b q -F file o", "map o", "compare -f qcow2 -F file o q"],
            "create_missing": ["create -f qcow2 -b nope -F file o", "create -u -f qcow2 -b nope -F file o 1M"],
            "create_device": ["create -f qcow2 -b r -F host_device o"],
            "create_option": ["create -f qcow2 -o backing_file=r,backing_fmt=file o", "info o"],
            "rebase": ["create -f qcow2 -b r -F raw o", "rebase -b r -F file o", "info o", "rebase -u -b q -F file o", "info o", "compare -F file o q",
                       "rebase -b '' o", "info o"],
            "commit": ["create -f qcow2 -b r -F file o", "convert -n -O qcow2 odd o", "commit o", "compare -F raw o r"],
            "convert": ["convert -O qcow2 -B r -F file r d", "info d", "compare d r"],
            "chain": ["create -f qcow2 -b r -F file o", "create -f qcow2 -b o -F qcow2 p", "info --backing-chain p", "map p", "compare p r"],
        }.items()
    ]
)
