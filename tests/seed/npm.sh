#!/bin/sh
# Stands in for npm in the image the page's manifests name.
case "$*" in
    "run migrate")
        echo "migrating $DATABASE_URL"
        sleep 1
        case "$DATABASE_URL" in *broken*) exit 3 ;; esac
        echo migrated
        ;;
    test) echo "tested $(cat /etc/commit)" ;;
    start)
        mkdir -p /www
        echo ok >/www/health
        exec httpd -f -p 8080 -h /www
        ;;
    *) exit 64 ;;
esac
