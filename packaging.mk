# make deb: the Debian package, in dist/. Built from a copy, so that the checkout stays as it is. Of build-essential only gcc
# and make are needed (-I does not ask for the rest, as C++).

DEB_VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
DEB_BUILD := build/deb/nbspd-$(DEB_VERSION)
DEB_NAME := nbspd_$(DEB_VERSION)_$(shell dpkg --print-architecture).deb
DEB := dist/$(DEB_NAME)

.PHONY: deb
deb:
	rm -rf build/deb && mkdir -p $(DEB_BUILD) dist
	tar -c --exclude=__pycache__ bpf daemon debian docs drill rules systemd | tar -x -C $(DEB_BUILD)
	cd $(DEB_BUILD) && dpkg-checkbuilddeps -I && dpkg-buildpackage --no-check-builddeps --build=binary --no-sign --jobs=1 \
		>../build.log 2>&1 || { cat ../build.log; exit 1; }
	cp build/deb/$(DEB_NAME) $(DEB)
	@echo $(DEB)
