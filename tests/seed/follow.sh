JOB_ID=$(ring deployment list --type job -o json | jq -r '.[] | select(.name=="migrate-v123") | .id')
ring deployment logs "$JOB_ID" --follow
