JOB_ID=$(ring deployment list --type job -o json | jq -r '.[] | select(.name=="migrate-v123") | .id')
ring deployment delete "$JOB_ID"
ring apply -f migrate.yaml
