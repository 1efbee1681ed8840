#!/bin/sh
# Asked by Debian's packages whether they may start a service. Here aios-init starts services, and nothing else does.
exit 101
