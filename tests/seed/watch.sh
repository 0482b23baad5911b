ring apply -f migrate.yaml

while [ "$(ring deployment list --type job -o json \
  | jq -r '.[] | select(.name=="migrate-v123") | .status')" = "running" ]; do
  sleep 2
done

JOB=$(ring deployment list --type job -o json | jq -r '.[] | select(.name=="migrate-v123")')
STATUS=$(echo "$JOB" | jq -r '.status')
JOB_ID=$(echo "$JOB" | jq -r '.id')

if [ "$STATUS" = "completed" ]; then
  echo "migration ok"
else
  echo "migration failed"
  ring deployment logs "$JOB_ID"
  exit 1
fi
