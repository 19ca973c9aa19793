# make deb: the Debian package, in dist/. Built from a copy, so that the checkout stays as it is.

DEB_VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
DEB_BUILD := build/deb/nbspd-$(DEB_VERSION)
DEB := dist/nbspd_$(DEB_VERSION)_all.deb

.PHONY: deb
deb:
	rm -rf build/deb && mkdir -p $(DEB_BUILD) dist
	tar -c --exclude=__pycache__ bpf daemon debian docs rules systemd | tar -x -C $(DEB_BUILD)
	cd $(DEB_BUILD) && dpkg-buildpackage --build=binary --no-sign --jobs=1 >../build.log 2>&1 || { cat ../build.log; exit 1; }
	cp build/deb/nbspd_$(DEB_VERSION)_all.deb $(DEB)
	@echo $(DEB)
